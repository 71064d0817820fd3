"""Everything that a worker's child process holds, put together."""

from __future__ import annotations

import logging
import threading
from typing import Final

from farm.domain import OperationError, RequestError
from farm.jobs import WorkerJobs
from farm.settings import Settings
from workers.device.gauge import GaugeThread
from workers.device.identity import WorkerIdentity
from workers.runtime.database_retry import DatabaseRetry
from workers.runtime.delivery import Delivery
from workers.runtime.device_session import DeviceSession
from workers.runtime.eligibility import Eligibility
from workers.runtime.heartbeat import HeartbeatThread
from workers.runtime.interrupt import Interrupt
from workers.runtime.job_runner import JobRunner
from workers.runtime.message_handler import MessageHandler
from workers.runtime.spool import Spool

logger = logging.getLogger(__name__)

JOIN_SECONDS: Final = 5.0  # for the heartbeat thread to end


class WorkerProcess:
    """One device, one database, one heartbeat thread. Made after the fork, used by the child's main thread."""

    def __init__(self, identity: WorkerIdentity, settings: Settings, *, device: DeviceSession | None = None) -> None:
        self.identity = identity
        self.interrupt = Interrupt()
        self.device = device or DeviceSession(identity.place, settings)
        self._closing = threading.Event()
        self._with_database = DatabaseRetry(identity.name, self.interrupt, self._closing)
        self.jobs = self._with_database(lambda: _open(settings))
        self.delivery = Delivery(
            self.jobs,
            Spool(settings.spool, identity.name),
            worker=identity.name,
            url=settings.database(),
            closing=self._closing,
        )
        eligibility = Eligibility(identity, self.jobs)
        period_seconds = min(settings.heartbeat_seconds, settings.spool_drain_seconds)
        self._gauge = GaugeThread(self.device.reading, period_seconds=period_seconds, closing=self._closing)
        self.heartbeat = HeartbeatThread(
            identity,
            self.jobs,
            self.delivery,
            eligibility,
            self.interrupt,
            self._gauge.latest,
            period_seconds=period_seconds,
            closing=self._closing,
        )
        runner = JobRunner(identity, self.jobs, self.device, self.delivery, self.interrupt, self._with_database)
        self._messages = MessageHandler(
            identity,
            self.jobs,
            self.device,
            runner,
            self.delivery,
            eligibility,
            self.heartbeat,
            self.interrupt,
            self._with_database,
            self._closing,
        )

    def open(self) -> None:
        """Say that this worker is here and begin to keep its lease and its spool."""
        self.interrupt.install()
        self._with_database(self.delivery.drain)  # before anything of ours is taken back: it may be done already
        self._with_database(lambda: self.jobs.take_back(self.identity.name))
        self._with_database(self.heartbeat.register)
        self._gauge.start()
        self.heartbeat.start()

    def handle(self, message: object) -> None:
        """Do what a message asks for; see :meth:`MessageHandler.handle`."""
        self._messages.handle(message)

    def close(self) -> None:
        """Let go of device and database."""
        self._closing.set()
        self.heartbeat.join(JOIN_SECONDS)
        try:
            self.device.close()
            self.delivery.drain()
            self.jobs.leave(self.identity.name)
        except OperationError as error:
            logger.warning("worker %s: left without a word: %s", self.identity.name, error)
        finally:
            self.jobs.close()


def _open(settings: Settings) -> WorkerJobs:
    """Open the database; it was right when the worker started, so whatever is wrong with it now is waited for."""
    try:
        return WorkerJobs.open(settings, create=False)
    except RequestError as error:
        raise OperationError(str(error)) from error
