"""What jobs of a sweep are in which state, point by point; why some failed; which attempts ran of late."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, case, func, or_, select

from farm.domain import JobState
from farm.store import tables as t
from farm.store.clock import now
from farm.store.sweeps import of_sweep

POINT: Final = ("model", "gpu", "width", "height", "steps", "precision", "cfg")
REASONS: Final = 50  # groups of failed jobs that are told apart
MOST_ATTEMPTS: Final = 5000  # that are drawn


def grid(db: Connection, sweep_id: int, model: str | None = None, gpu: str | None = None) -> list[dict[str, Any]]:
    """The grid points of a sweep: jobs by state, one of them, the mean joules an image of what was measured and its
    origin.

    Jobs that differ in prompts, batch, seed or replicate stand together.
    """
    c, row = t.configuration.c, t.measured_row.c
    counts = [func.sum(case((t.job.c.state == state, 1), else_=0)).label(state.value) for state in JobState]
    of = [column == value for column, value in ((c.model, model), (c.gpu, gpu)) if value is not None]
    point = [c[name] for name in POINT]
    query = (
        select(
            *point,
            *counts,
            func.min(t.job.c.id).label("job"),
            func.avg(row.energy_joules_per_image).label("joules"),
            func.max(row.origin).label("origin"),
        )
        .select_from(
            t.job.join(t.configuration, c.id == t.job.c.configuration_id).outerjoin(
                t.measured_row, row.job_id == t.job.c.id
            )
        )
        .where(*of)
        .group_by(*point)
        .order_by(*point)
    )
    return [dict(found) for found in db.execute(of_sweep(query, sweep_id)).mappings()]


@dataclass(frozen=True, slots=True)
class Failures:
    """Jobs that failed for good, for one reason."""

    reason: str
    count: int
    example_job: int
    last_at: float | None
    workers: dict[str, int] = field(default_factory=dict)  # that made the last attempt: jobs of each
    gpus: dict[str, int] = field(default_factory=dict)
    models: dict[str, int] = field(default_factory=dict)
    sweeps: list[int] = field(default_factory=list)  # that want one of the jobs


def failures(db: Connection, sweep_id: int | None = None) -> list[Failures]:
    """Why jobs failed, by how their last attempts ended, with who made these; the most frequent first."""
    reason = _reason().label("reason")
    totals = (
        select(reason, func.count().label("jobs"), func.min(t.job.c.id), func.max(t.job.c.finished_at))
        .select_from(_failed())
        .where(t.job.c.state == JobState.FAILED)
        .group_by(reason)
        .order_by(func.count().desc(), reason)
        .limit(REASONS)
    )
    groups = {row[0]: Failures(*row) for row in db.execute(of_sweep(totals, sweep_id))}
    if not groups:
        return []
    c = t.configuration.c
    by_worker = (
        select(reason, t.attempt.c.worker, c.gpu, c.model, func.count())
        .select_from(_failed().join(t.configuration, c.id == t.job.c.configuration_id))
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
        .select_from(_failed().join(t.sweep_job, link.job_id == t.job.c.id))
        .where(t.job.c.state == JobState.FAILED)
        .distinct()
        .order_by(link.sweep_id)
    )
    for text, wanting in db.execute(by_sweep):
        if group := groups.get(text):
            group.sweeps.append(wanting)
    return list(groups.values())


def _failed() -> Any:
    last = and_(t.attempt.c.job_id == t.job.c.id, t.attempt.c.number == t.job.c.attempt)
    return t.job.outerjoin(t.attempt, last)


def _reason() -> ColumnElement[str]:
    ended = t.attempt.c.end + ": " + func.coalesce(t.attempt.c.message, "")
    return func.coalesce(ended, t.job.c.reason, "")


def attempts_since(db: Connection, seconds: float) -> list[dict[str, Any]]:
    """Attempts that ran within the last so many seconds, the first first, with what was measured; times are seconds
    before now. The newest MOST_ATTEMPTS."""
    attempt, c = t.attempt.c, t.configuration.c
    columns = [c[name] for name in (*POINT, "prompts", "batch", "weights", "size", "seed", "frames")]
    query: Select[Any] = (
        select(
            attempt.job_id, attempt.number, attempt.worker, attempt.end, attempt.message, t.job.c.loads,
            attempt.started_at, attempt.ended_at,
            (now() - attempt.started_at).label("started"), (now() - attempt.ended_at).label("ended"), *columns,
        )
        .join(t.job, t.job.c.id == attempt.job_id)
        .join(t.configuration, c.id == t.job.c.configuration_id)
        .where(or_(attempt.started_at > now() - seconds, and_(t.job.c.state == "running", attempt.end.is_(None))))
        .order_by(attempt.started_at.desc())
        .limit(MOST_ATTEMPTS)
    )  # fmt: skip
    return [dict(row) for row in db.execute(query).mappings()][::-1]


def last_measured(db: Connection, worker: str) -> dict[str, Any] | None:
    """The environment of what a worker measured last, the idle power then, the mean power at work, and the origin of
    both; None where it measured nothing."""
    attempt = t.attempt.c
    newest = (
        select(attempt.job_id)
        .where(attempt.worker == worker, attempt.end == "accepted")
        .order_by(attempt.started_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    measurement = t.measurement.c
    found = db.execute(select(measurement.document, measurement.origin).where(measurement.job_id == newest)).first()
    if found is None:
        return None
    document = found.document
    idle, joules, seconds = (document.get(name) for name in ("idle_watts", "energy_joules", "duration_seconds"))
    known = idle is not None and joules is not None and seconds
    power = {"idle_watts": idle, "work_watts": idle + joules / seconds if known else None, "origin": found.origin}
    return {**(document.get("environment") or {}), **power}


def last_environments(db: Connection, workers: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """The environment of what each of these workers measured last, by worker; without those that measured nothing."""
    attempt, measurement = t.attempt.c, t.measurement.c
    newest = (
        select(attempt.worker, func.max(attempt.started_at).label("at"))
        .where(attempt.worker.in_(workers), attempt.end == "accepted")
        .group_by(attempt.worker)
        .subquery()
    )
    query = (
        select(attempt.worker, measurement.document)
        .join(newest, and_(attempt.worker == newest.c.worker, attempt.started_at == newest.c.at))
        .join(t.measurement, measurement.job_id == attempt.job_id)
    )
    return {worker: document.get("environment") or {} for worker, document in db.execute(query)}


def energies(db: Connection, sweep_ids: Collection[int] | None = None) -> dict[int, dict[str, float]]:
    """Joules above idle of what was measured for each of these sweeps, or of all, by origin; what is not known cannot
    be counted."""
    row, link = t.measured_row.c, t.sweep_job.c
    query = (
        select(link.sweep_id, row.origin, func.coalesce(func.sum(row.energy_joules), 0.0))
        .select_from(t.sweep_job.join(t.measured_row, row.job_id == link.job_id))
        .group_by(link.sweep_id, row.origin)
    )
    if sweep_ids is not None:
        query = query.where(link.sweep_id.in_(sweep_ids))
    found: dict[int, dict[str, float]] = {}
    for sweep_id, origin, joules in db.execute(query):
        found.setdefault(sweep_id, {})[origin] = float(joules)
    return found
