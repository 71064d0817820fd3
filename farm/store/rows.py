"""Measured rows, own and imported, as lists ask for them: filtered, sorted, a page at a time."""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, tuple_

from farm.domain.row import OWN, Row
from farm.store import tables as t
from farm.store.clock import now
from farm.store.postgres import LATER
from farm.store.upsert import insert

ROW: Final = t.measured_row.c
# What a list can be sorted by, and what is sorted then.
SORTS: Final[Mapping[str, ColumnElement[Any]]] = {
    **{
        name: ROW[name]
        for name in (
            "model", "gpu", "width", "height", "steps", "precision", "cfg", "prompts", "batch", "dataset",
            "energy_joules", "energy_joules_per_image", "duration_seconds", "measured_at", "added_at",
        )
    },
    "resolution": ROW.width * ROW.height,
}  # fmt: skip
FETCH: Final = 500  # documents held at once
# Built once: to build such a statement takes longer than to run it.
_ADD: Final = t.measured_row.insert().inline().execution_options(**LATER)
_ADD_NOW: Final = _ADD.values(added_at=now())


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which rows: each column has one of these values, all of these flags are there, energies lie between these."""

    values: Mapping[str, Collection[Any]] = field(default_factory=dict)
    sides: Collection[tuple[int, int]] = ()  # width and height
    flags: Collection[str] = ()
    without_flags: Collection[str] = ()
    least_joules: float | None = None  # an image
    most_joules: float | None = None

    def where(self) -> list[ColumnElement[bool]]:
        """The conditions of a query for these rows."""
        conditions: list[ColumnElement[bool]] = [ROW[name].in_(list(values)) for name, values in self.values.items()]
        if self.sides:
            conditions.append(or_(*(and_(ROW.width == width, ROW.height == height) for width, height in self.sides)))
        conditions += [_has(flag) for flag in self.flags]
        conditions += [~_has(flag) for flag in self.without_flags]
        if self.least_joules is not None:
            conditions.append(ROW.energy_joules_per_image >= self.least_joules)
        if self.most_joules is not None:
            conditions.append(ROW.energy_joules_per_image <= self.most_joules)
        return conditions


def _has(flag: str) -> ColumnElement[bool]:
    return ROW.flags.contains(f" {flag} ", autoescape=True)


def add(db: Connection, row: Row, *, measurement_id: str, added_at: Any, **source: int) -> None:
    """List one of the farm's own measurements; ``job_id`` says whose it is,
    ``added_at`` when it was recorded: a number, or what SQL makes one of."""
    values = {**_narrow(row, OWN, measurement_id, added_at), **source}
    if isinstance(added_at, now):
        del values["added_at"]
        db.execute(_ADD_NOW, values)
    else:
        db.execute(_ADD, values)


def add_imported(db: Connection, rows: Mapping[tuple[str, str], Row]) -> None:
    """List imported rows by data set and id; those whose row is there, and that are not listed yet."""
    if not rows:
        return
    by_dataset: dict[str, list[str]] = {}
    for dataset, measurement_id in rows:
        by_dataset.setdefault(dataset, []).append(measurement_id)
    values = []
    source = t.dataset_row.c
    for dataset, ids in by_dataset.items():
        query = select(source.id, source.measurement_id, source.imported_at)
        for there in db.execute(query.where(source.dataset == dataset, source.measurement_id.in_(ids))):
            row = rows[dataset, there.measurement_id]
            narrow = _narrow(row, dataset, there.measurement_id, there.imported_at)
            values.append({**narrow, "dataset_row_id": there.id})
    db.execute(insert(db, t.measured_row).on_conflict_do_nothing(), values)


def _narrow(row: Row, dataset: str, measurement_id: str, added_at: Any) -> dict[str, Any]:
    energy = row.energy_joules
    return {
        "dataset": dataset,
        "measurement_id": measurement_id,
        **row.configuration.to_dict(),
        "energy_joules": energy,
        "energy_joules_per_image": None if energy is None else energy / row.configuration.prompts,
        "energy_std_joules": row.energy_std_joules,
        "duration_seconds": row.duration_seconds,
        "includes_idle": row.includes_idle,
        "flags": f" {' '.join(row.flags)} " if row.flags else "",
        "origin": row.origin,
        "spoiled": row.spoiled,
        "measured_at": row.measured_at,
        "added_at": added_at,
    }


def count(db: Connection, wanted: Wanted) -> int:
    """How many rows are wanted."""
    return int(db.execute(select(func.count()).select_from(t.measured_row).where(*wanted.where())).scalar_one())


def mark(db: Connection) -> tuple[int, float | None]:
    """How many rows there are, and when the newest came."""
    # Two questions: each is answered from an index, which one of both is not.
    count_of_rows = select(func.count()).select_from(t.measured_row).scalar_subquery()
    newest_of_rows = select(func.max(ROW.added_at)).scalar_subquery()
    counted, newest = db.execute(select(count_of_rows, newest_of_rows)).one()
    return int(counted), newest


def page(
    db: Connection, wanted: Wanted, *, sort: str, descending: bool, limit: int, offset: int
) -> list[dict[str, Any]]:
    """The narrow columns of rows, sorted by one of SORTS; what is not known comes last either way."""
    key, order = (ROW.dataset, ROW.measurement_id), _order(sort, descending)
    # Keys alone are sorted: rows to the end of the page are, and whole ones take twice as long.
    keys = select(*key).where(*wanted.where()).order_by(*order).limit(limit).offset(offset)
    rows = db.execute(select(t.measured_row).where(tuple_(*key).in_(keys)).order_by(*order)).mappings()
    return [{**row, "flags": row["flags"].split()} for row in rows]


def _order(sort: str, descending: bool) -> list[ColumnElement[Any]]:
    column = SORTS[sort]
    first = column.desc() if descending else column.asc()
    unknown = [column.is_(None)] if sort in ("energy_joules", "energy_joules_per_image", "duration_seconds") else []
    # Rows of an import share their time: within it, as they came.
    ties = (ROW.dataset_row_id, ROW.job_id) if not descending else (ROW.dataset_row_id.desc(), ROW.job_id.desc())
    return [*unknown, first, *ties]


def documents(db: Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], dict[str, Any]]:
    """The documents of these rows, as ``whole`` gives them, by data set and id."""
    by_dataset: dict[str, list[str]] = {}
    for dataset, measurement_id in keys:
        by_dataset.setdefault(dataset, []).append(measurement_id)
    parts = [and_(ROW.dataset == dataset, ROW.measurement_id.in_(ids)) for dataset, ids in by_dataset.items()]
    if not parts:
        return {}
    rows = db.execute(_whole().where(or_(*parts))).mappings()
    return {(row["dataset"], row["measurement_id"]): dict(row) for row in rows}


def whole(
    db: Connection, wanted: Wanted, *, sort: str = "added_at", descending: bool = False
) -> Generator[dict[str, Any]]:
    """Rows with their documents, one after another: ``own`` and where it came from, or ``imported``."""
    query = _whole().where(*wanted.where()).order_by(*_order(sort, descending))
    with db.execute(query, execution_options={"yield_per": FETCH}) as result:
        for row in result.mappings():
            yield dict(row)


def _whole() -> Select[Any]:
    accepted, imported = t.measurement.c, t.dataset_row.c
    return (
        select(
            ROW.dataset, ROW.measurement_id, accepted.document.label("own"), accepted.job_id, accepted.attempt,
            accepted.worker, accepted.recorded_at, imported.document.label("imported"), imported.imported_at,
        )
        .select_from(
            t.measured_row.outerjoin(t.measurement, accepted.job_id == ROW.job_id)
            .outerjoin(t.dataset_row, imported.id == ROW.dataset_row_id)
        )
    )  # fmt: skip


def datasets_of(db: Connection, measurement_id: str) -> list[str]:
    """The data sets that have a row of that id, the farm's own first."""
    query = select(ROW.dataset).where(ROW.measurement_id == measurement_id).order_by(ROW.dataset != OWN, ROW.dataset)
    return list(db.execute(query).scalars())


def choices(db: Connection, names: Sequence[str]) -> dict[str, list[Any]]:
    """The values that rows have in each of these columns, sorted."""
    return {name: list(db.execute(select(ROW[name]).distinct().order_by(ROW[name])).scalars()) for name in names}


def flags(db: Connection) -> list[str]:
    """Flags that rows have."""
    texts = db.execute(select(ROW.flags).distinct()).scalars()
    return sorted({flag for text in texts for flag in text.split()})
