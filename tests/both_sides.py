"""Both sides of a job in one object, for tests that play the worker as well as the coordinator."""

from __future__ import annotations

from farm.jobs import CoordinatorJobs, WorkerJobs
from farm.store.engine import Store


class Jobs(WorkerJobs, CoordinatorJobs):
    """What a worker may do and what the coordinator may, on one store."""

    @property
    def store(self) -> Store:
        return self._store
