"""One attempt at a job that was claimed: measured and delivered, handed back, or failed."""

from __future__ import annotations

import logging
import time

from farm.domain import (
    AttemptEnd,
    AttemptError,
    DeviceLost,
    Failure,
    Job,
    Measurement,
    MeterError,
    OperationError,
    RequestError,
)
from farm.jobs import WorkerJobs
from workers.device.identity import WorkerIdentity
from workers.interrupted import Interrupted
from workers.runtime.database_retry import DatabaseRetry
from workers.runtime.delivery import Delivery
from workers.runtime.device_session import DeviceSession
from workers.runtime.interrupt import Interrupt, Why

logger = logging.getLogger(__name__)


class JobRunner:
    """Runs claimed jobs on one device."""

    def __init__(
        self,
        identity: WorkerIdentity,
        jobs: WorkerJobs,
        device: DeviceSession,
        delivery: Delivery,
        interrupt: Interrupt,
        with_database: DatabaseRetry,
    ) -> None:
        self._identity = identity
        self._jobs = jobs
        self._device = device
        self._delivery = delivery
        self._interrupt = interrupt
        self._with_database = with_database

    def run(self, job: Job) -> None:
        """Make the attempt. SystemExit where this process must be replaced, since its device was lost."""
        started = time.monotonic()
        label = f"job {job.id} attempt {job.attempt} {job.configuration.gpu} {job.configuration.label()}"
        try:
            measurement, samples = self._measure(job)
        except Interrupted as stop:
            logger.warning("%s: given up: %s", label, stop.why)
            if stop.why is Why.STOPPING:
                self._release(job, reason="it stops")
            return
        except Exception as error:
            failure = _failure(error)
            logger.error("%s: %s: %s", label, failure.reason, failure.message)
            self._with_database(lambda: self._jobs.fail(job.id, job.attempt, self._identity.name, failure))
            self._recover(error)
            return
        end = self._delivery.deliver(job, measurement, samples)
        joules = "unknown" if measurement.energy_joules is None else f"{measurement.energy_joules:.4g} J"
        flags = f" [{' '.join(measurement.flags)}]" if measurement.flags else ""
        logger.info("%s: %s%s, %s, %.2f s", label, joules, flags, end, time.monotonic() - started)

    def _measure(self, job: Job) -> tuple[Measurement, bytes]:
        prompts = self._with_database(lambda: self._jobs.prompts_of(job))
        with self._interrupt.allowed():
            loaded = self._device.prepare(job.configuration)
        if loaded:
            self._with_database(lambda: self._jobs.count_load(job.id))
        with self._interrupt.allowed():
            return self._device.measure(job, prompts)

    def _release(self, job: Job, *, reason: str) -> None:
        self._with_database(lambda: self._jobs.release(job.id, job.attempt, self._identity.name, reason=reason))

    def _recover(self, error: Exception) -> None:
        """Make the device ready for the next job after an attempt that failed."""
        if not isinstance(error, (DeviceLost, MeterError)):
            self._device.unload()
            return
        self._device.close()  # a meter that stopped reading would fail every further job
        if isinstance(error, DeviceLost) and not self._identity.simulate:
            # A CUDA context does not survive its device: the parent replaces this process.
            raise SystemExit(1)


def _failure(error: Exception) -> Failure:
    """The error as a value; what no retry can mend is not retried."""
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, AttemptError):
        peak = getattr(error, "peak_bytes", None)
        return Failure(
            reason=error.reason, message=message, retry=error.retry, detail={"peak_bytes": peak} if peak else {}
        )
    if isinstance(error, RequestError):
        return Failure(reason=AttemptEnd.INFEASIBLE, message=message, retry=False)
    if not isinstance(error, OperationError):
        logger.error("unexpected while measuring", exc_info=error)
        message = f"{type(error).__name__}: {message}"
    return Failure(reason=AttemptEnd.ERROR, message=message, retry=True)
