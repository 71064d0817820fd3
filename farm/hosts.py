"""The registered workers, as those who run the farm see them."""

from __future__ import annotations

from farm import waiting
from farm.domain.worker import WorkerInfo
from farm.store import hosts
from farm.store.engine import Store
from farm.waiting import Coordinator, Waiting


class Hosts:
    """The workers that a store knows."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def workers(self) -> list[WorkerInfo]:
        """Every registered worker as it last reported, by name."""
        with self._store.read() as db:
            return [WorkerInfo(**row) for row in hosts.workers(db)]

    def coordinator(self) -> Coordinator:
        """Whether a coordinator is here."""
        with self._store.read() as db:
            return waiting.coordinator(db)

    def waiting(self) -> list[Waiting]:
        """Why the queued jobs of all sweeps wait."""
        with self._store.read() as db:
            return waiting.reasons(db)

    def request_drain(self, name: str | None = None) -> int:
        """Ask a worker, or all, to finish the job at hand and stop; how many were asked."""
        with self._store.write() as db:
            return hosts.request_drain(db, name)
