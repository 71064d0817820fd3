"""The registered workers, as those who run the farm see them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from farm import waiting
from farm.domain.worker import WorkerInfo
from farm.store import hosts, progress
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

    def document(self) -> dict[str, Any]:
        """Workers, coordinator and why jobs wait, as `farm workers list --json` prints them."""
        return {
            "workers": [{**asdict(info), "silent": not info.alive} for info in self.workers()],
            "coordinator": asdict(self.coordinator()),
            "waiting": [asdict(row) for row in self.waiting()],
        }

    def attempts(self, seconds: float) -> list[dict[str, Any]]:
        """What was tried within the last so many seconds, the first first; times are seconds before now."""
        with self._store.read() as db:
            return progress.attempts_since(db, seconds)

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
