"""The heartbeat thread: it renews the lease, empties the spool and hears requests, also while no job runs."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from farm.domain import Job, OperationError
from farm.domain.worker import NO_DEVICE, WorkerInfo
from farm.jobs import WorkerJobs
from farm.processes import machine
from farm.version import __version__
from workers.device.gauge import Reading
from workers.device.identity import WorkerIdentity
from workers.runtime.delivery import Delivery
from workers.runtime.eligibility import Eligibility
from workers.runtime.interrupt import Interrupt

logger = logging.getLogger(__name__)


class HeartbeatThread:
    """Says every ``period_seconds`` that this worker lives, until ``closing`` is set. Made after the fork."""

    def __init__(
        self,
        identity: WorkerIdentity,
        jobs: WorkerJobs,
        delivery: Delivery,
        eligibility: Eligibility,
        interrupt: Interrupt,
        gauge: Callable[[], Reading],
        *,
        period_seconds: float,
        closing: threading.Event,
    ) -> None:
        self._identity = identity
        self._jobs = jobs
        self._delivery = delivery
        self._eligibility = eligibility
        self._interrupt = interrupt
        self._gauge = gauge
        self._period_seconds = period_seconds
        self._closing = closing
        self._parent = os.getppid()
        self._job: Job | None = None  # the running one, whose lease is kept
        self.device_ready = True  # said by whoever opens it
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the thread's end, once ``closing`` is set."""
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    @contextmanager
    def keeping(self, job: Job) -> Iterator[None]:
        """Keep the job's lease in the block; where it is lost, the measurement is interrupted."""
        self._set_job(job)
        try:
            yield
        finally:
            self._set_job(None)

    def register(self) -> None:
        """Write down in the database that this worker is here."""
        identity = self._identity
        self._jobs.register(
            WorkerInfo(
                name=identity.name,
                gpu=identity.gpu,
                queue=identity.queue,
                device_name=identity.device_name,
                device_uuid=identity.device_uuid,
                host=identity.host,
                pid=self._parent,
                machine=machine(),
                code_version=__version__,
                facts=identity.facts,
                spool_waiting=self._delivery.waiting,
            )
        )

    def beat(self) -> None:
        """Do one round. OperationError where the database is away."""
        self._renew_lease()
        self._delivery.drain()
        self._eligibility.look_at_catalog()
        self._report()
        self._drain_if_asked()

    def _set_job(self, job: Job | None) -> None:
        self._job = job
        self._interrupt.concerns(job)

    def _run(self) -> None:
        while not self._closing.wait(self._period_seconds):
            try:
                self.beat()
            except OperationError as error:
                logger.warning("worker %s: %s", self._identity.name, error)
            except Exception:
                # The lease must be kept whatever else is wrong; the next round may do better.
                logger.exception("worker %s: a round of its heartbeat thread failed", self._identity.name)

    def _renew_lease(self) -> None:
        job = self._job
        if job is not None and not self._jobs.heartbeat(job.id, job.attempt):
            self._interrupt.fence(job)

    def _report(self) -> None:
        job = self._job
        idle = "idle" if self.device_ready else NO_DEVICE
        state = "draining" if self._interrupt.draining else "busy" if job else idle
        registered = self._jobs.report(
            self._identity.name,
            state=state,
            job_id=job.id if job else None,
            spool_waiting=self._delivery.waiting,
            **asdict(self._gauge()),
        )
        if not registered:
            self.register()

    def _drain_if_asked(self) -> None:
        if not self._interrupt.draining and self._jobs.drain_requested(self._identity.name):
            logger.info("worker %s: drains: ends after the running job", self._identity.name)
            self._interrupt.draining = True
            if os.getppid() == self._parent:  # else it was killed, and that of another would be signalled
                os.kill(self._parent, signal.SIGTERM)
