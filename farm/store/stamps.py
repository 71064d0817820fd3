"""With which catalog entries the jobs of a sweep were submitted."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, func, select

from farm.domain import Configuration, JobState
from farm.store import configurations, leases
from farm.store import tables as t


@dataclass(frozen=True, slots=True)
class Stamped:
    """Queued jobs of one model, GPU type and size that carry the same digest."""

    example: Configuration
    catalog_version: str


def of_queued(db: Connection, sweep_id: int) -> list[Stamped]:
    """The digests of catalog entries that the queued jobs of a sweep carry."""
    c = t.configuration.c
    examples = (
        select(func.min(c.id).label("example"), t.job.c.catalog_version)
        .join(t.job, t.job.c.configuration_id == c.id)
        .where(_queued(sweep_id))
        .group_by(c.model, c.gpu, c.size, t.job.c.catalog_version)
        .subquery()
    )
    query = select(*configurations.COLUMNS, examples.c.catalog_version).join(examples, examples.c.example == c.id)
    return [Stamped(configurations.of_row(row), row["catalog_version"]) for row in db.execute(query).mappings()]


def renew(db: Connection, sweep_id: int, stamped: Stamped, *, catalog_version: str, code_version: str) -> int:
    """Give these jobs other stamps and have them offered at once; how many."""
    c = t.configuration.c
    of_example = select(c.id).where(
        c.model == stamped.example.model, c.gpu == stamped.example.gpu, c.size == stamped.example.size
    )
    where = and_(
        _queued(sweep_id),
        t.job.c.catalog_version == stamped.catalog_version,
        t.job.c.configuration_id.in_(of_example),
    )
    values = {"catalog_version": catalog_version, "code_version": code_version}
    return leases.requeue(db, where, **values, refusals=0, not_before=0.0, reason=None)


def _queued(sweep_id: int) -> ColumnElement[bool]:
    wanted = select(t.sweep_job.c.job_id).where(t.sweep_job.c.sweep_id == sweep_id)
    return and_(t.job.c.state == JobState.QUEUED, t.job.c.id.in_(wanted))
