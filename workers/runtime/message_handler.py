"""What a worker's process does with a message: it claims the job that the message names, and has it run."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from farm.domain import AttemptError, Job, OperationError
from farm.domain.job import MAX_JOB_ID
from farm.jobs import WorkerJobs
from workers.device.identity import WorkerIdentity
from workers.interrupted import Interrupted
from workers.runtime.database_retry import DatabaseRetry
from workers.runtime.delivery import Delivery
from workers.runtime.device_session import DeviceSession
from workers.runtime.eligibility import Eligibility
from workers.runtime.heartbeat import HeartbeatThread
from workers.runtime.interrupt import Interrupt
from workers.runtime.job_runner import JobRunner

logger = logging.getLogger(__name__)

DEVICE_WAIT_SECONDS: Final = 15.0  # before looking again for a device that is not there
OFF_POLL_SECONDS: Final = 1.0  # between two looks whether a device that is off is back


class MessageHandler:
    """Turns messages into claimed jobs."""

    def __init__(
        self,
        identity: WorkerIdentity,
        jobs: WorkerJobs,
        device: DeviceSession,
        runner: JobRunner,
        delivery: Delivery,
        eligibility: Eligibility,
        heartbeat: HeartbeatThread,
        interrupt: Interrupt,
        with_database: DatabaseRetry,
        closing: threading.Event,
    ) -> None:
        self._identity = identity
        self._jobs = jobs
        self._device = device
        self._runner = runner
        self._delivery = delivery
        self._eligibility = eligibility
        self._heartbeat = heartbeat
        self._interrupt = interrupt
        self._with_database = with_database
        self._closing = closing
        self._off = False  # the device takes no jobs, and that was said

    def handle(self, message: object) -> None:
        """Return when the message's job is done, failed or handed back, or was not this worker's to begin with.

        ``message`` comes from the broker, where anybody who has its password may have put it: it is believed to be a
        job's id and nothing else; everything more is read from the database.
        """
        if type(message) is not int or not 0 < message <= MAX_JOB_ID:
            logger.warning("worker %s: a message that is no job id was ignored", self._identity.name)
            return
        try:
            self._run(message)
        except Interrupted as stop:
            logger.info("worker %s: %s", self._identity.name, stop)
        except OperationError as error:
            # We are stopping and the database is away. The message is spent; the lease runs out by itself.
            logger.warning("job %d: left as it is: %s", message, error)

    def _run(self, job_id: int) -> None:
        if not self._device_ready():
            return
        self._with_database(self._delivery.drain)
        self._with_database(self._eligibility.look_at_catalog)
        job = self._with_database(lambda: self._claim(job_id))
        if job is None:
            logger.debug("job %d: not to be claimed now", job_id)
            self._rest_while_off()
            return
        with self._heartbeat.keeping(job):
            self._runner.run(job)

    def _rest_while_off(self) -> None:
        """Take no other message at once while the device is off: the job that this one names went to other workers."""
        until = time.monotonic() + DEVICE_WAIT_SECONDS
        while (why := self._with_database(lambda: self._jobs.device_off(self._identity.name))) is not None:
            if time.monotonic() > until or self._interrupt.draining:
                return
            if not self._off:
                logger.info("worker %s: its device takes no jobs: %s", self._identity.name, why)
                self._off = True
            with self._interrupt.allowed():
                self._closing.wait(OFF_POLL_SECONDS)
        if self._off:
            logger.info("worker %s: its device takes jobs again", self._identity.name)
            self._off = False

    def _claim(self, job_id: int) -> Job | None:
        here = self._identity
        return self._jobs.claim(job_id, worker=here.name, queue=here.queue, objection=self._eligibility.objection)

    def _device_ready(self) -> bool:
        """Whether the meter is open. A device that is gone must not take jobs only to fail them one by one."""
        try:
            with self._interrupt.allowed():
                self._device.open()
        except (AttemptError, OperationError) as error:
            logger.error("worker %s: the device is not ready: %s", self._identity.name, error)
            self._heartbeat.device_ready = False
            self._closing.wait(DEVICE_WAIT_SECONDS)
            return False
        self._heartbeat.device_ready = True
        return True
