"""What happened to a job: every attempt and why it ended, what was accepted, what came late."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from farm.domain.times import utc
from farm.store import configurations, removals
from farm.store import tables as t
from farm.store.sweeps import of_sweep

_JOB = [
    t.job.c[name]
    for name in (
        "id", "sweep_id", "state", "held", "queue", "replicate", "attempt", "tries", "worker", "reason", "loads",
        "lease_until", "sent_at", "not_before", "created_at", "finished_at", "prompts_sha256", "code_version",
        "catalog_version", "only_device",
    )
]  # fmt: skip
_PRIORITY = (-t.job.c.rank).label("priority")


def jobs(
    db: Connection,
    *,
    state: str | None,
    gpu: str | None,
    sweep_id: int | None,
    limit: int,
    point: Mapping[str, Any] | None = None,
) -> tuple[int, list[dict[str, Any]]]:
    """How many there are, and the first ``limit`` of them in the order in which they run.

    ``point`` gives values of keys of the configuration.
    """
    where = [column == value for column, value in ((t.job.c.state, state), (t.configuration.c.gpu, gpu)) if value]
    where += [t.configuration.c[name] == value for name, value in (point or {}).items()]
    total = db.execute(_jobs(where, sweep_id, func.count())).scalar_one()
    rows = db.execute(
        _jobs(where, sweep_id, *_JOB, _PRIORITY, *configurations.COLUMNS)
        .order_by(t.job.c.rank, t.job.c.id)
        .limit(limit)
    )
    return total, [dict(row) for row in rows.mappings()]


def job(db: Connection, job_id: int) -> dict[str, Any] | None:
    """One job with its attempts, its sweeps, its measurement and what came late."""
    row = db.execute(_jobs([t.job.c.id == job_id], None, *_JOB, _PRIORITY, *configurations.COLUMNS)).mappings().first()
    if row is None:
        return None
    attempts = select(t.attempt).where(t.attempt.c.job_id == job_id).order_by(t.attempt.c.number)
    sweeps = select(t.sweep_job.c.sweep_id).where(t.sweep_job.c.job_id == job_id).order_by(t.sweep_job.c.sweep_id)
    accepted = select(t.measurement.c.document).where(t.measurement.c.job_id == job_id)
    late = select(t.late_measurement).where(t.late_measurement.c.job_id == job_id)
    return {
        **row,
        "sweeps": list(db.execute(sweeps).scalars()),
        "attempts": [_without_id(dict(row)) for row in db.execute(attempts).mappings()],
        "measurement": db.execute(accepted).scalar(),
        "removed": [
            {**{key: row[key] for key in ("measurement_id", "reason", "who")}, "removed_at": utc(row["at"])}
            for row in removals.removed(db, job_id=job_id)
        ],
        "late": [dict(row) for row in db.execute(late.order_by(t.late_measurement.c.recorded_at)).mappings()],
    }


def _jobs(where: list[ColumnElement[bool]], sweep_id: int | None, *columns: Any) -> Select[Any]:
    query = select(*columns).select_from(t.job.join(t.configuration, t.configuration.c.id == t.job.c.configuration_id))
    query = query.where(*where)
    return query if sweep_id is None else of_sweep(query, sweep_id)


def _without_id(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("id", "job_id")}
