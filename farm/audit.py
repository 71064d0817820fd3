"""What happened to jobs: every attempt and why it ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farm.store import audit
from farm.store.engine import Store


class Audit:
    """The history of a store's jobs. Writes nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def jobs(
        self,
        *,
        state: str | None = None,
        gpu: str | None = None,
        sweep_id: int | None = None,
        limit: int,
        point: Mapping[str, Any] | None = None,
    ) -> tuple[int, list[dict[str, Any]]]:
        """How many jobs there are of that state, GPU type, sweep and configuration (those of its keys that ``point``
        names), and the first ``limit`` as they run."""
        with self._store.read() as db:
            return audit.jobs(db, state=state, gpu=gpu, sweep_id=sweep_id, limit=limit, point=point)

    def job(self, job_id: int) -> dict[str, Any] | None:
        """One job with its attempts, sweeps, measurement and late measurements; None where there is none."""
        with self._store.read() as db:
            return audit.job(db, job_id)
