"""How a measurement reaches the database: onto this host's disk first, then into SQL, tried until it is safe."""

from __future__ import annotations

import logging
import threading

from farm.domain import Job, Measurement, OperationError, RequestError
from farm.jobs import WorkerJobs
from workers.runtime.database_retry import FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS
from workers.runtime.spool import Entry, Spool, database_fingerprint

logger = logging.getLogger(__name__)


class Delivery:
    """Brings the results of one worker to its database.

    Args:
        jobs: where results are recorded.
        spool: the folder where they are safe until then.
        worker: the worker's name.
        url: the database's, as results of 0.1.0 name it.
        closing: set when the worker ends; nothing is waited for any longer.
    """

    def __init__(self, jobs: WorkerJobs, spool: Spool, *, worker: str, url: str, closing: threading.Event) -> None:
        self._jobs = jobs
        self._spool = spool
        self._worker = worker
        self._names = (jobs.database, database_fingerprint(url))
        self._closing = closing
        self._drain_lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """How many results the database does not have yet."""
        return self._spool.waiting

    def deliver(self, job: Job, measurement: Measurement, samples: bytes) -> str:
        """Write the result to disk, then to the database; returns when it is safe on either, with how it ended.

        Where neither takes it, it is held in memory and both are tried again.
        """
        entry = Entry(
            job_id=job.id,
            attempt=job.attempt,
            worker=self._worker,
            database=self._jobs.database,
            measurement=measurement,
            samples=samples,
        )
        wait = FIRST_WAIT_SECONDS
        while True:
            path = None
            try:
                path = self._spool.hold(entry)
            except OperationError as error:
                logger.error("job %d: %s; trying the database", job.id, error)
            try:
                accepted = self._record(entry)
            except OperationError as error:
                if path is not None:
                    logger.warning("job %d: on the spool until the database is back: %s", job.id, error)
                    return "on the spool"
                logger.error("job %d: neither disk nor database take it, held in memory: %s", job.id, error)
                self._closing.wait(wait)
                wait = min(wait * 2, LONGEST_WAIT_SECONDS)
            except RequestError as error:
                logger.error("job %d: its result cannot be stored: %s", job.id, error)
                return "refused" if path is None else "refused, set aside with the next look at the spool"
            else:
                if path is not None:
                    self._spool.remove(path)
                return "accepted" if accepted else "late, kept for audit"

    def drain(self) -> None:
        """Bring what waits on the spool to the database. OperationError where that is away."""
        with self._drain_lock:
            delivered = self._spool.drain(self._names, self._record)
        if delivered:
            logger.info("worker %s: %d result(s) brought from the spool to the database", self._worker, delivered)

    def _record(self, entry: Entry) -> bool:
        return self._jobs.record(entry.job_id, entry.attempt, entry.worker, entry.measurement, samples=entry.samples)
