"""What jobs of a sweep are in which state, point by point; which attempts ran of late; what they measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from sqlalchemy import Connection, Select, and_, case, func, or_, select

from farm.domain import JobState
from farm.store import tables as t
from farm.store.clock import now
from farm.store.sweeps import of_sweep

POINT: Final = ("model", "gpu", "width", "height", "steps", "precision", "cfg")
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
    return [dict(point) for point in db.execute(of_sweep(query, sweep_id)).mappings()]


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
    last = db.execute(select(measurement.document, measurement.origin).where(measurement.job_id == newest)).first()
    if last is None:
        return None
    document = last.document
    idle, joules, seconds = (document.get(name) for name in ("idle_watts", "energy_joules", "duration_seconds"))
    known = idle is not None and joules is not None and seconds
    power = {"idle_watts": idle, "work_watts": idle + joules / seconds if known else None, "origin": last.origin}
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
    joules_of: dict[int, dict[str, float]] = {}
    for sweep_id, origin, joules in db.execute(query):
        joules_of.setdefault(sweep_id, {})[origin] = float(joules)
    return joules_of
