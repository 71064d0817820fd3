"""What a worker's process keeps between jobs: the open meter, and the pipeline that is loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from farm import catalog
from farm.domain import Configuration, Job, Measurement
from farm.settings import Settings
from workers.device.gauge import UNKNOWN, BoardGauge, Reading
from workers.device.identity import Place
from workers.meters.base import Meter
from workers.workload import Workload

if TYPE_CHECKING:
    from workers.pipelines.base import Pipeline
    from workers.procedure.measure import Measured


logger = logging.getLogger(__name__)


class Workloads(Protocol):
    """Where workloads come from: loaded once, bound to job after job while ``Configuration.pipeline`` stays."""

    def load(self, configuration: Configuration) -> None:
        """Load what the configuration needs, in place of what was loaded before. Raises AttemptError."""

    def bind(self, configuration: Configuration, *, replicate: int, attempt: int) -> Workload:
        """Return what was loaded, bound to this attempt at a configuration."""

    def unload(self) -> None:
        """Give the memory back. May be called twice."""


class Pipelines:
    """Diffusion pipelines on the device this process is pinned to."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._loaded: Pipeline | None = None

    def load(self, configuration: Configuration) -> None:
        from workers.pipelines import load

        self.unload()  # before the next: a device may not hold two
        self._loaded = load(configuration, self._device)

    def bind(self, configuration: Configuration, *, replicate: int, attempt: int) -> Workload:
        assert self._loaded is not None
        return self._loaded.bind(configuration)

    def unload(self) -> None:
        pipeline, self._loaded = self._loaded, None
        if pipeline is not None:
            pipeline.close()


class SimulatedLoads:
    """A simulated device has nothing to load; its workloads draw from the meter they are given."""

    def __init__(self, meter: Meter, law: str) -> None:
        self._meter = meter
        self._law = law

    def load(self, configuration: Configuration) -> None:
        """Nothing to do."""

    def bind(self, configuration: Configuration, *, replicate: int, attempt: int) -> Workload:
        from workers.meters import simulated_workload

        return simulated_workload(configuration, self._meter, replicate=replicate, attempt=attempt, law=self._law)

    def unload(self) -> None:
        """Nothing to do."""


def _let_go(name: str, close: Callable[[], None]) -> None:
    try:
        close()
    except Exception:
        logger.exception("the %s could not be let go of", name)


class DeviceSession:
    """One device with its meter and at most one loaded pipeline: how workers and ``farm measure`` measure.

    Nothing is imported or opened before it is needed: a worker's parent process must never touch the device, and a
    simulated one needs no torch.
    """

    def __init__(self, place: Place, settings: Settings, *, idle_seconds: float | None = None) -> None:
        """``idle_seconds``: baseline that was asked for by name, of meters that estimate as well."""
        self._place = place
        self._settings = settings
        self._idle_seconds = idle_seconds
        self._meter: Meter | None = None
        self._workloads: Workloads | None = None
        self._cold_idle_watts: float | None = None
        self._gauge = None if place.simulate or place.device is None else BoardGauge(place.device)
        self._loaded: tuple[str, ...] | None = None  # the pipeline, and the catalog's entries it was made from

    def open(self) -> None:
        """Open the meter, unless it is open. AttemptError or OperationError, and it stays closed, where that fails."""
        if self._meter is not None:
            return
        self._meter, self._workloads = self._open()
        from workers.procedure.rest import cold_idle_watts

        try:
            self._cold_idle_watts = cold_idle_watts(self._meter, self._settings.idle_seconds)
        except BaseException:  # a meter that fails at once must not stand open for the first job
            self.close()
            raise

    def prepare(self, configuration: Configuration) -> bool:
        """Have what a configuration needs loaded; True where that took a load. Raises AttemptError."""
        self.open()
        assert self._workloads is not None
        wanted = (*configuration.pipeline, catalog.digest(configuration))
        if self._loaded == wanted:
            return False
        self._loaded = None
        self._workloads.load(configuration)
        self._loaded = wanted
        return True

    def measure(self, job: Job, prompts: Sequence[str]) -> tuple[Measurement, bytes]:
        """Measure a job that ``prepare`` was called for; returns the meter's raw log too (``workers.meters.samples``).

        Raises AttemptError.
        """
        outcome = self.measure_configuration(job.configuration, prompts, replicate=job.replicate, attempt=job.attempt)
        return outcome.measurement, outcome.samples()

    def measure_configuration(
        self, configuration: Configuration, prompts: Sequence[str], *, replicate: int = 0, attempt: int = 1
    ) -> Measured:
        """Measure a configuration that ``prepare`` was called for. Raises AttemptError."""
        from workers.procedure.measure import measure
        from workers.procedure.options import Options

        assert self._meter is not None
        assert self._workloads is not None
        options = Options(
            idle_seconds=self._settings.idle_seconds,
            settle_seconds=self._settings.settle_seconds,
            max_seconds=self._settings.repeat_seconds,
        )
        return measure(
            configuration,
            self._workloads.bind(configuration, replicate=replicate, attempt=attempt),
            self._meter,
            prompts=prompts,
            options=options.suited(self._meter, self._idle_seconds),
            cold_idle_watts=self._cold_idle_watts,
            environment=self._place.environment,
        )

    def reading(self) -> Reading:
        """What the device draws now and how warm it is; asked from another thread, while a job is measured or not."""
        if self._gauge is not None:
            return self._gauge.read()
        if not self._place.simulate:
            return UNKNOWN
        from workers.meters import simulated_watts

        return Reading(power_watts=simulated_watts(self._meter, self._place.gpu))

    def unload(self) -> None:
        """Let go of the pipeline and its memory."""
        self._loaded = None
        if self._workloads is not None:
            self._workloads.unload()

    def close(self) -> None:
        """Let go of everything; ``open`` starts anew. What a broken device refuses is logged, and keeps nobody from it.

        After a CUDA error torch refuses even to give memory back: the process that is to be replaced then must end.
        """
        meter, self._meter = self._meter, None
        _let_go("pipeline", self.unload)
        self._workloads = None
        if meter is not None:
            _let_go("meter", meter.close)

    def _open(self) -> tuple[Meter, Workloads]:
        from workers.meters import open_meter

        here = self._place
        meter = open_meter(here.gpu, here.device, simulate=here.simulate, speed=here.speed, name=self._settings.meter)
        if here.simulate:
            return meter, SimulatedLoads(meter, self._settings.simulated_law)
        # A worker sees one CUDA device, the one that it is pinned to.
        return meter, Pipelines("cpu" if here.device is None else "cuda")
