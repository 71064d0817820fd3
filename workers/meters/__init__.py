"""Ways of reading energy. ``open_meter`` opens the one asked for; each lives in a module of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from farm import catalog
from farm.catalog import Gpu
from farm.domain import Configuration, RequestError
from workers.meters.base import Meter
from workers.workload import Workload


def _nvml(device: int | str, gpu: Gpu | None) -> Meter:
    from workers.meters.nvml.meter import NvmlMeter

    return NvmlMeter(device, gpu=gpu)


def _codecarbon(device: int | str, _gpu: Gpu | None) -> Meter:
    from workers.meters.codecarbon import CodeCarbonGpuMeter

    return CodeCarbonGpuMeter(device)


def _both(device: int | str, gpu: Gpu | None) -> Meter:
    from workers.meters.paired import PairedMeter

    first = _nvml(device, gpu)  # first, since it probes what reading the counter does to it: nobody else may read then
    try:
        return PairedMeter(first, _codecarbon(device, gpu))
    except BaseException:
        first.close()
        raise


# What --meter and FARM_METER may say, and what that is on a GPU. ``auto`` is the most exact one there is.
METERS: Final[dict[str, Callable[[int | str, Gpu | None], Meter]]] = {
    "auto": _nvml,
    "nvml": _nvml,
    "codecarbon": _codecarbon,
    "both": _both,
}


def check_meter(kind: str, gpu: str | None, *, simulate: bool = False, asked_by: str = "--meter") -> None:
    """RequestError, naming who asked, where that meter cannot read that catalog GPU, whatever the host."""
    if kind not in METERS:
        raise RequestError(asked_by, kind, f"one of {', '.join(METERS)}")
    if simulate and kind != "auto":
        raise RequestError(asked_by, kind, "a simulated device has a meter of its own: auto, or leave out --simulate")
    if gpu is not None and catalog.gpu(gpu).is_processor and kind not in ("auto", "codecarbon"):
        raise RequestError(asked_by, kind, f"{gpu} has no NVML: auto or codecarbon, which estimate, or another --gpu")


def check_host(kind: str) -> None:
    """MeterError where the host lacks what that meter needs of it besides a GPU."""
    if METERS[kind] is not _nvml:
        from workers.meters.codecarbon import require_nvidia_smi

        require_nvidia_smi()


def open_meter(
    gpu: str | None,
    device: int | str | None = None,
    *,
    kind: str = "auto",
    simulate: bool = False,
    speed: float | None = None,
) -> Meter:
    """The meter for a catalog GPU (None: a board that the catalog lacks), as ``kind`` says, a key of METERS.

    ``auto`` is simulated when asked, an estimate for a processor, NVML otherwise. ``device`` is an NVML index or UUID.
    ``speed`` is the simulated seconds in a real one (None: as fast as it goes). RequestError for what cannot be, as
    ``check_meter``; MeterError or DeviceLost where the meter cannot start.
    """
    check_meter(kind, gpu, simulate=simulate)
    entry = None if gpu is None else catalog.gpu(gpu)
    if simulate:
        from workers.meters.simulated.meter import SimulatedMeter

        if entry is None:
            raise RequestError("gpu", gpu, "a type of the catalog, to be simulated")
        return SimulatedMeter(entry, int(device or 0), speed=speed)
    if entry is not None and entry.is_processor:
        from workers.meters.codecarbon import CodeCarbonCpuMeter

        return CodeCarbonCpuMeter()
    check_host(kind)  # quickly, as NVML is probed for seconds
    return METERS[kind](device if device is not None else 0, entry)


def simulated_workload(configuration: Configuration, meter: Meter, *, replicate: int = 0, attempt: int = 1) -> Workload:
    """A workload that draws what the stated law says from a simulated meter."""
    from workers.meters.simulated.meter import SimulatedMeter, SimulatedWorkload

    if not isinstance(meter, SimulatedMeter):
        raise TypeError(f"a simulated workload needs a simulated meter, not {meter.name}")
    return SimulatedWorkload(configuration, meter, replicate=replicate, attempt=attempt)
