"""Ways of reading energy. ``open_meter`` finds the one for a GPU type; each lives in a module of its own."""

from __future__ import annotations

from farm import catalog
from farm.domain import Configuration
from workers.meters.base import Meter
from workers.workload import Workload


def open_meter(
    gpu: str, device: int | str | None = None, *, simulate: bool = False, speed: float | None = None
) -> Meter:
    """A meter for that catalog GPU: simulated when asked, an estimate for a CPU, NVML otherwise.

    ``device`` is an NVML index or UUID. ``speed`` is the simulated seconds in a real one (None: as fast as it goes).
    """
    entry = catalog.gpu(gpu)
    if simulate:
        from workers.meters.simulated import SimulatedMeter

        return SimulatedMeter(entry, int(device or 0), speed=speed)
    if entry.architecture == "none":
        from workers.meters.codecarbon import CodeCarbonCpuMeter

        return CodeCarbonCpuMeter()
    from workers.meters.nvml import NvmlMeter

    return NvmlMeter(device if device is not None else 0, gpu=entry)


def simulated_workload(configuration: Configuration, meter: Meter, *, replicate: int = 0, attempt: int = 1) -> Workload:
    """A workload that draws what the stated law says from a simulated meter."""
    from workers.meters.simulated import SimulatedMeter, SimulatedWorkload

    if not isinstance(meter, SimulatedMeter):
        raise TypeError(f"a simulated workload needs a simulated meter, not {meter.name}")
    return SimulatedWorkload(configuration, meter, replicate=replicate, attempt=attempt)
