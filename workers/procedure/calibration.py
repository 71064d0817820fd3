"""A minute on a new GPU: what it idles at, what its kernels reach, and what one or two whole pipelines cost on it.

A law that has never seen a GPU predicts it from its specification. Most of what it then gets wrong is one factor for
the whole board, and a single measured pipeline tells that factor; the rates say why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from farm import catalog
from farm.catalog import memory
from farm.domain import Configuration, Measurement
from farm.domain.row import Row
from workers.meters.base import Meter
from workers.procedure.measure import measure
from workers.procedure.options import Options
from workers.procedure.rest import cold_idle_watts
from workers.workload import Workload

# A U-Net and a transformer, cheap and public, and small enough for nearly every board: what fits is measured.
PIPELINES: Final[tuple[Mapping[str, Any], ...]] = (
    {"model": "sd2", "width": 512, "height": 512, "steps": 20, "precision": "fp16", "cfg": True, "prompts": 4},
    {
        "model": "sd35-medium",
        "width": 1024,
        "height": 1024,
        "steps": 10,
        "precision": "fp16",
        "cfg": True,
        "prompts": 2,
    },
)
SETTLE_SECONDS: Final = 8.0
REPEAT_SECONDS: Final = 6.0
PROMPT: Final = "a photograph of a red bicycle leaning on a white wall"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What a GPU idles at, reaches and costs. Rates are in FLOP/s, of memory in bytes/s; times in seconds."""

    gpu: str
    device_name: str
    seconds: float
    idle_watts: float | None  # before anything is loaded
    power_limit_watts: float | None
    reached: Mapping[str, float]  # matmul, attention, convolution, memory
    launch_seconds: float | None
    measurements: Sequence[Measurement]

    def rows(self, dataset: str) -> list[Row]:
        """The pipelines as rows of a data set, with the board's limits, clocks and rates beside each."""
        rows = []
        for measurement in self.measurements:
            circumstances = {
                "power_limit_watts": self.power_limit_watts,
                "sm_clock_mhz": measurement.environment.get("sm_clock_mhz"),
                "launch_seconds": self.launch_seconds,
                **{f"reached_{name}": rate for name, rate in self.reached.items()},
            }
            extra = {name: value for name, value in circumstances.items() if value is not None}
            rows.append(replace(Row.of(measurement), dataset=dataset, extra=extra))
        return rows


def configurations(gpu: str, *, size: str = "full") -> list[Configuration]:
    """Return those of PIPELINES that fit the GPU type's memory."""
    nano = {} if size == "full" else {"width": 64, "height": 64, "steps": 2, "precision": "fp32"}
    every = [Configuration(gpu=gpu, size=size, **{**values, **nano}) for values in PIPELINES]
    return [configuration for configuration in every if memory.objection(configuration) is None]


def calibrate(
    gpu: str,
    meter: Meter,
    load: Callable[[Configuration], tuple[Workload, Callable[[], None]]],
    *,
    rates: Callable[[], tuple[Mapping[str, float], float | None]],
    idle_seconds: float,
    size: str = "full",
    environment: Mapping[str, Any] | None = None,
) -> Calibration:
    """Calibrate the meter's device.

    Args:
        gpu: catalog name of its type.
        meter: open, on the device.
        load: gives a configuration's workload and what gives its memory back.
        rates: what the device's kernels reach, and the seconds of a launch where there is such a thing.
        idle_seconds: baseline on each side of each measurement.
        size: of the pipelines: full, or nano where only the way is tried.
        environment: circumstances of the host, kept with each row.

    Raises:
        AttemptError: a pipeline could not be measured.
    """
    started = time.monotonic()
    cold = cold_idle_watts(meter, idle_seconds)
    reached, launch = rates()
    options = Options(idle_seconds=idle_seconds, settle_seconds=SETTLE_SECONDS, max_seconds=REPEAT_SECONDS).suited(
        meter
    )
    measurements = []
    for configuration in configurations(gpu, size=size):
        workload, unload = load(configuration)
        try:
            measured = measure(
                configuration,
                workload,
                meter,
                prompts=[PROMPT],
                options=options,
                cold_idle_watts=cold,
                environment=environment,
            )
        finally:
            unload()
        measurements.append(measured.measurement)
    here = meter.environment()
    return Calibration(
        gpu=gpu,
        device_name=str(here.get("device_name") or catalog.gpu(gpu).title),
        seconds=time.monotonic() - started,
        idle_watts=cold,
        power_limit_watts=here.get("power_limit_watts"),
        reached=reached,
        launch_seconds=launch,
        measurements=measurements,
    )
