"""The life of a job in a worker's process: doorbell, claim, measurement, spool, database."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from farm import catalog
from farm.domain import AttemptEnd, AttemptError, DeviceLost, Failure, Job, Measurement, OperationError, RequestError
from farm.domain.worker import WorkerInfo
from farm.jobs import WorkerJobs
from farm.settings import Settings
from farm.version import __version__
from workers.device.identity import WorkerIdentity
from workers.runtime.device_session import Workbench
from workers.runtime.interrupt import Interrupt, Interrupted, Why
from workers.runtime.spool import Entry, Spool, database_fingerprint

T = TypeVar("T")

logger = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS: Final = 5.0  # between two tries to reach a database that is away
REFUSED_SECONDS: Final = 30.0  # a job refused for its version is not offered again for so long
DEVICE_WAIT_SECONDS: Final = 15.0  # before looking again for a device that is not there


class Session:
    """Everything one worker's child process holds. Made after the fork, used by its main thread and its keeper."""

    def __init__(self, identity: WorkerIdentity, settings: Settings, *, workbench: Workbench | None = None) -> None:
        self.identity = identity
        self.settings = settings
        self.interrupt = Interrupt()
        self._workbench = workbench or Workbench(identity, settings)
        self._jobs = WorkerJobs.open(settings, create=False)
        self._spool = Spool(settings.spool, identity.name)
        self._database = database_fingerprint(settings.database())
        self._current: Job | None = None
        self._closing = threading.Event()
        self._drain_lock = threading.Lock()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def open(self) -> None:
        """Say that this worker is here and begin to keep its lease and its spool."""
        self.interrupt.install()
        self._with_database(self._drain_spool)  # before anything of ours is taken back: it may be done already
        self._with_database(lambda: self._jobs.take_back(self.identity.name))
        self._with_database(self._register)
        self._keeper.start()

    def close(self) -> None:
        """Let go of device and database."""
        self._closing.set()
        self._keeper.join(timeout=5.0)
        try:
            self._workbench.close()
            self._drain_spool()
            self._jobs.leave(self.identity.name)
        except OperationError as error:
            logger.warning("worker %s: left without a word: %s", self.identity.name, error)
        finally:
            self._jobs.close()

    def answer(self, message: object) -> None:
        """A doorbell rang. Returns when the job is done, failed, handed back, or was not ours to begin with.

        ``message`` comes from the broker, where anybody who has its password may have put it: it is believed to be a
        job's id and nothing else; everything more is read from the database.
        """
        if type(message) is not int or not 0 < message < 2**63:
            logger.warning("worker %s: a message that is no job id was ignored", self.identity.name)
            return
        try:
            if not self._device_ready():
                return
            self._with_database(self._drain_spool)
            job = self._with_database(
                lambda: self._jobs.claim(message, worker=self.identity.name, queue=self.identity.queue)
            )
            if job is None:
                logger.debug("job %d: not to be claimed now", message)
                return
            self._begin(job)
            try:
                self._attempt(job)
            finally:
                self._begin(None)
        except Interrupted as stop:
            logger.info("worker %s: %s", self.identity.name, stop)
        except OperationError as error:
            # We are stopping and the database is away. The doorbell is spent; the lease runs out by itself.
            logger.warning("job %d: left as it is: %s", message, error)

    def _begin(self, job: Job | None) -> None:
        """From here on, leases are kept, and may be lost, for this job."""
        self._current = job
        self.interrupt.concerns(job)

    def _attempt(self, job: Job) -> None:
        if reason := self._refusal(job):
            logger.error("job %d attempt %d refused: %s", job.id, job.attempt, reason)
            self._with_database(
                lambda: self._jobs.release(
                    job.id, job.attempt, self.identity.name, reason=reason, delay_seconds=REFUSED_SECONDS
                )
            )
            return
        started = time.monotonic()
        label = f"job {job.id} attempt {job.attempt} {job.configuration.gpu} {job.configuration.label()}"
        try:
            measurement, samples = self._measure(job)
        except Interrupted as stop:
            logger.warning("%s: given up: %s", label, stop.why)
            if stop.why is Why.STOPPING:
                self._with_database(lambda: self._jobs.release(job.id, job.attempt, self.identity.name))
            return
        except Exception as error:
            failure = _failure(error)
            logger.error("%s: %s: %s", label, failure.reason, failure.message)
            self._with_database(lambda: self._jobs.fail(job.id, job.attempt, self.identity.name, failure))
            self._recover(error)
            return
        end = self._deliver(job, measurement, samples)
        joules = "unknown" if measurement.energy_joules is None else f"{measurement.energy_joules:.4g} J"
        flags = f" [{' '.join(measurement.flags)}]" if measurement.flags else ""
        logger.info("%s: %s%s, %s, %.2f s", label, joules, flags, end, time.monotonic() - started)

    def _refusal(self, job: Job) -> str:
        """Why this worker must not measure that job; empty where it may.

        A refused job stays queued and the attempt is not counted: another worker may be right for it. It is not
        offered again for a while, so that a farm of old workers does not pass it round in circles, and the attempt's
        row says why (`farm jobs show`).
        """
        here = self.identity
        if job.configuration.gpu != here.gpu:
            return f"{here.name} measures {here.gpu}, the job is for {job.configuration.gpu}"
        if job.code_version != __version__:
            return f"{here.name} runs joulefarm {__version__}, the job was submitted by {job.code_version}"
        if job.catalog_version != catalog.version():
            return f"{here.name} has catalog {catalog.version()}, the job rests on {job.catalog_version}"
        return ""

    def _measure(self, job: Job) -> tuple[Measurement, bytes]:
        prompts = self._with_database(lambda: self._jobs.prompts_of(job))
        with self.interrupt.allowed():
            loaded = self._workbench.prepare(job.configuration)
        if loaded:
            self._with_database(lambda: self._jobs.count_load(job.id))
        with self.interrupt.allowed():
            return self._workbench.measure(job, prompts)

    def _deliver(self, job: Job, measurement: Measurement, samples: bytes) -> str:
        """Disk, then database; returns when it is safe on either. Says how it ended, in words."""
        entry = Entry(
            job_id=job.id,
            attempt=job.attempt,
            worker=self.identity.name,
            database=self._database,
            measurement=measurement,
            samples=samples,
        )
        wait = 0.1
        while True:
            path = None
            try:
                path = self._spool.put(entry)
            except OperationError as error:
                logger.error("job %d: %s; trying the database", job.id, error)
            try:
                accepted = self._accept(entry)
            except OperationError as error:
                if path is not None:
                    logger.warning("job %d: on the spool until the database is back: %s", job.id, error)
                    return "on the spool"
                logger.error("job %d: neither disk nor database take it, held in memory: %s", job.id, error)
                self._closing.wait(wait)
                wait = min(wait * 2, LONGEST_WAIT_SECONDS)
            else:
                if path is not None:
                    self._spool.remove(path)
                return "accepted" if accepted else "late, kept for audit"

    def _accept(self, entry: Entry) -> bool:
        return self._jobs.record(entry.job_id, entry.attempt, entry.worker, entry.measurement, samples=entry.samples)

    def _drain_spool(self) -> None:
        with self._drain_lock:
            taken = self._spool.drain(self._database, self._accept)
        if taken:
            logger.info("worker %s: %d result(s) brought from the spool to the database", self.identity.name, taken)

    def _recover(self, error: Exception) -> None:
        """Be fit for the next job."""
        if isinstance(error, DeviceLost):
            self._workbench.close()
            if not self.identity.simulate:
                # A CUDA context does not survive its device: the parent replaces this process.
                raise SystemExit(1)
        else:
            self._workbench.unload()

    def _device_ready(self) -> bool:
        """Whether the meter is open. A device that is gone must not take jobs only to fail them one by one."""
        try:
            with self.interrupt.allowed():
                self._workbench.open()
        except (AttemptError, OperationError) as error:
            logger.error("worker %s: the device is not ready: %s", self.identity.name, error)
            self._closing.wait(DEVICE_WAIT_SECONDS)
            return False
        return True

    def _with_database(self, action: Callable[[], T]) -> T:
        """Do it, however long the database is away; OperationError only when the worker is to stop meanwhile."""
        wait = 0.1
        while True:
            try:
                return action()
            except OperationError as error:
                if self.interrupt.stopping or self._closing.is_set():
                    raise
                if wait > 0.1:
                    logger.warning("worker %s: waiting: %s", self.identity.name, error)
                self._closing.wait(wait)
                wait = min(wait * 2, LONGEST_WAIT_SECONDS)

    def _register(self) -> None:
        identity = self.identity
        self._jobs.register(
            WorkerInfo(
                name=identity.name,
                gpu=identity.gpu,
                queue=identity.queue,
                device_name=identity.device_name,
                device_uuid=identity.device_uuid,
                host=identity.host,
                pid=os.getppid(),
                code_version=__version__,
                spool_waiting=self._spool.waiting,
            )
        )

    # --- the keeper: a thread that renews the lease, empties the spool and hears requests, also while nobody works

    def _keep(self) -> None:
        period = min(self.settings.heartbeat_seconds, self.settings.spool_drain_seconds)
        while not self._closing.wait(period):
            try:
                self._beat()
                self._drain_spool()
                self._hear()
            except OperationError as error:
                logger.warning("worker %s: %s", self.identity.name, error)
            except Exception:
                # The lease must be kept whatever else is wrong; the next round may do better.
                logger.exception("worker %s: its keeper failed", self.identity.name)

    def _beat(self) -> None:
        job = self._current
        if job is not None and not self._jobs.heartbeat(job.id, job.attempt):
            self.interrupt.fence(job)

    def _hear(self) -> None:
        job = self._current
        state = "draining" if self.interrupt.draining else "busy" if job else "idle"
        known = self._jobs.report(
            self.identity.name, state=state, job_id=job.id if job else None, spool_waiting=self._spool.waiting
        )
        if not known:
            self._register()
        if not self.interrupt.draining and self._jobs.drain_requested(self.identity.name):
            logger.info("worker %s: drains: ends after the running job", self.identity.name)
            self.interrupt.draining = True
            os.kill(os.getppid(), signal.SIGTERM)


def _failure(error: Exception) -> Failure:
    """What went wrong, as a value. What no retry can mend is not retried."""
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
