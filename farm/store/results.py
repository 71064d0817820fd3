"""Measured rows: the farm's own, and those of imported data sets."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, exists, func, select

from farm.store import tables as t
from farm.store.clock import now
from farm.store.upsert import insert

FETCH = 1000  # rows held at once


def own(
    db: Connection, *, model: str | None = None, gpu: str | None = None, newest: int | None = None
) -> Generator[dict[str, Any]]:
    """Accepted measurements: ``document`` and where it came from. In the order of their jobs, or the newest first."""
    of_measurement = t.measurement.c
    columns = (of_measurement.document, of_measurement.job_id, of_measurement.attempt, of_measurement.worker)
    query: Select[Any] = select(*columns).where(~of_measurement.health)
    if model is not None or gpu is not None:
        query = query.join(t.configuration, t.configuration.c.id == t.measurement.c.configuration_id)
        query = _where(query, t.configuration, model, gpu)
    if newest is not None:
        listed = t.measured_row.c  # which has an index on the time
        query = query.join(t.measured_row, listed.job_id == t.measurement.c.job_id)
        query = query.order_by(listed.added_at.desc(), listed.job_id.desc()).limit(newest)
    else:
        query = query.order_by(t.measurement.c.job_id)
    return _stream(db, query)


def has_own(db: Connection, gpu: str, *, simulated: bool) -> bool:
    """Whether there are accepted measurements of that GPU type by simulated devices, or by others."""
    origin = t.measurement.c.origin == "simulated" if simulated else t.measurement.c.origin != "simulated"
    joined = t.measurement.join(t.configuration, t.configuration.c.id == t.measurement.c.configuration_id)
    return bool(db.execute(select(exists(joined.select().where(t.configuration.c.gpu == gpu, origin)))).scalar())


def imported(
    db: Connection, *, dataset: str | None = None, model: str | None = None, gpu: str | None = None
) -> Generator[dict[str, Any]]:
    """Rows of one data set or all, in the order in which they were imported."""
    query = _where(select(t.dataset_row.c.document), t.dataset_row, model, gpu).order_by(t.dataset_row.c.id)
    if dataset is not None:
        query = query.where(t.dataset_row.c.dataset == dataset)
    return _stream(db, query)


def datasets(db: Connection) -> dict[str, int]:
    """Rows of each imported data set."""
    query = select(t.dataset_row.c.dataset, func.count()).group_by(t.dataset_row.c.dataset)
    return {row[0]: row[1] for row in db.execute(query.order_by(t.dataset_row.c.dataset))}


def samples(db: Connection, measurement_id: str) -> bytes | None:
    """The power log behind a measurement, as its worker compressed it; None where there is none."""
    query = select(t.samples.c.data).where(t.samples.c.measurement_id == measurement_id)
    return db.execute(query).scalar()


def samples_bytes(db: Connection) -> int:
    """How much room all power logs take, as they are stored."""
    return int(db.execute(select(func.coalesce(func.sum(func.length(t.samples.c.data)), 0))).scalar_one())


def drop_oldest_samples(db: Connection, bound: int) -> int:
    """Drop power logs, those of the oldest measurements first, until the others fit in so many bytes; how many.

    Down to nine tenths, so that not every new one drops another. Measurements stay as they are.
    """
    total = samples_bytes(db)
    if total <= bound:
        return 0
    accepted, late, log = t.measurement.c, t.late_measurement.c, t.samples.c
    recorded_at = func.coalesce(accepted.recorded_at, late.recorded_at, 0.0)
    query = (
        select(log.measurement_id, func.length(log.data))
        .outerjoin(t.measurement, accepted.measurement_id == log.measurement_id)
        .outerjoin(t.late_measurement, late.measurement_id == log.measurement_id)
        .order_by(recorded_at, log.measurement_id)
    )
    dropped = 0
    for measurement_id, size in db.execute(query).all():
        if total <= 0.9 * bound:
            break
        db.execute(t.samples.delete().where(log.measurement_id == measurement_id))
        total -= size
        dropped += 1
    return dropped


def has_samples(db: Connection, measurement_id: str) -> bool:
    """Whether the power log of a measurement is kept."""
    return bool(db.execute(select(exists().where(t.samples.c.measurement_id == measurement_id))).scalar())


def names(db: Connection, column: str) -> set[str]:
    """Every ``model``, or ``gpu``, that a configuration or an imported row is of."""
    asked = select(t.configuration.c[column]).distinct()
    imported_too = select(t.dataset_row.c[column]).distinct()
    return set(db.execute(asked).scalars()) | set(db.execute(imported_too).scalars())


def known_ids(db: Connection, dataset: str, ids: Sequence[str]) -> set[str]:
    """Those of the ids that the data set, or the farm itself, has."""
    own_ids = select(t.measurement.c.measurement_id).where(t.measurement.c.measurement_id.in_(ids))
    there = select(t.dataset_row.c.measurement_id).where(
        t.dataset_row.c.dataset == dataset, t.dataset_row.c.measurement_id.in_(ids)
    )
    return set(db.execute(own_ids).scalars()) | set(db.execute(there).scalars())


def add_rows(db: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Imported rows (columns of tables.DatasetRow); one that came meanwhile from elsewhere stays as it is."""
    if rows:
        imported_at = db.execute(select(now())).scalar_one()
        statement = insert(db, t.dataset_row).on_conflict_do_nothing()
        db.execute(statement, [{**row, "imported_at": imported_at} for row in rows])


def _where(query: Select[Any], table: Any, model: str | None, gpu: str | None) -> Select[Any]:
    if model is not None:
        query = query.where(table.c.model == model)
    if gpu is not None:
        query = query.where(table.c.gpu == gpu)
    return query


def _stream(db: Connection, query: Select[Any]) -> Generator[dict[str, Any]]:
    with db.execute(query, execution_options={"yield_per": FETCH}) as result:
        for row in result.mappings():
            yield dict(row)
