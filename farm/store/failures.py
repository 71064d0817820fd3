"""Why jobs failed for good, by how their last attempts ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, func, select

from farm.domain import JobState
from farm.store import tables as t
from farm.store.sweeps import of_sweep

GROUPS: Final = 20  # reasons that are told apart
MOST_GROUPS: Final = 50  # where each is told in full


@dataclass(frozen=True, slots=True)
class Failed:
    """Jobs that failed for good, for one reason."""

    reason: str
    count: int
    example_job: int


@dataclass(frozen=True, slots=True)
class Failures:
    """Jobs that failed for good for one reason, with when and where."""

    reason: str
    count: int
    example_job: int
    last_at: float | None
    workers: dict[str, int] = field(default_factory=dict)  # that made the last attempt: jobs of each
    gpus: dict[str, int] = field(default_factory=dict)
    models: dict[str, int] = field(default_factory=dict)
    sweeps: list[int] = field(default_factory=list)  # that want one of the jobs


def by_reason(db: Connection, sweep_id: int | None) -> list[Failed]:
    """Why jobs of a sweep, or of all, failed; the most frequent reason first, at most GROUPS."""
    return [Failed(*row) for row in _totals(db, sweep_id, GROUPS, func.min(t.job.c.id))]


def in_full(db: Connection, sweep_id: int | None = None) -> list[Failures]:
    """Why jobs of a sweep, or of all, failed, with who made the last attempts; the most frequent reason first, at most
    MOST_GROUPS."""
    totals = _totals(db, sweep_id, MOST_GROUPS, func.min(t.job.c.id), func.max(t.job.c.finished_at))
    groups = {row[0]: Failures(*row) for row in totals}
    if not groups:
        return []
    reason, c = _reason(), t.configuration.c
    by_worker = (
        select(reason, t.attempt.c.worker, c.gpu, c.model, func.count())
        .select_from(_last_attempts().join(t.configuration, c.id == t.job.c.configuration_id))
        .where(t.job.c.state == JobState.FAILED)
        .group_by(reason, t.attempt.c.worker, c.gpu, c.model)
    )
    for text, worker, gpu, model, count in db.execute(of_sweep(by_worker, sweep_id)):
        if group := groups.get(text):
            for counts, name in ((group.gpus, gpu), (group.models, model), (group.workers, worker)):
                if name is not None:
                    counts[name] = counts.get(name, 0) + count
    link = t.sweep_job.c
    by_sweep = (
        select(reason, link.sweep_id)
        .select_from(_last_attempts().join(t.sweep_job, link.job_id == t.job.c.id))
        .where(t.job.c.state == JobState.FAILED)
        .distinct()
        .order_by(link.sweep_id)
    )
    for text, wanting in db.execute(by_sweep):
        if group := groups.get(text):
            group.sweeps.append(wanting)
    return list(groups.values())


def _totals(db: Connection, sweep_id: int | None, limit: int, *columns: Any) -> list[Any]:
    """Reason, number of jobs and these columns, of the most frequent reasons."""
    reason = _reason()
    query: Select[Any] = (
        select(reason, func.count(), *columns)
        .select_from(_last_attempts())
        .where(t.job.c.state == JobState.FAILED)
        .group_by(reason)
        .order_by(func.count().desc(), reason)
        .limit(limit)
    )
    return list(db.execute(of_sweep(query, sweep_id)))


def _last_attempts() -> Any:
    """Jobs with their last attempts, where they had one."""
    return t.job.outerjoin(t.attempt, and_(t.attempt.c.job_id == t.job.c.id, t.attempt.c.number == t.job.c.attempt))


def _reason() -> ColumnElement[str]:
    ended = t.attempt.c.end + ": " + func.coalesce(t.attempt.c.message, "")
    return func.coalesce(ended, t.job.c.reason, "").label("reason")
