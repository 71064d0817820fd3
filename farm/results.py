"""Measured rows out of the database and into it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from farm import catalog
from farm.actor import user_at_host
from farm.domain import Measurement, RequestError
from farm.domain.errors import unknown_name
from farm.domain.row import OWN as OWN
from farm.domain.row import Row
from farm.domain.table import with_ids
from farm.domain.times import utc
from farm.store import removals
from farm.store import results as sql
from farm.store import rows as listed
from farm.store.engine import Connection, Store

BATCH: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What an import did."""

    rows: int  # in the file
    imported: int
    duplicates: int  # their measurement_id was known
    datasets: tuple[str, ...]


class Results:
    """The measured rows of a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def rows(self, dataset: str | None = None, *, model: str | None = None, gpu: str | None = None) -> Iterator[Row]:
        """Rows of a data set (``farm`` for its own measurements), or of all; spoiled ones too."""
        with self.store.read() as db:
            if dataset in (None, OWN):
                with closing(sql.own(db, model=model, gpu=gpu)) as records:
                    yield from map(own_row, records)
            if dataset != OWN:
                with closing(sql.imported(db, dataset=dataset, model=model, gpu=gpu)) as records:
                    yield from map(imported_row, records)

    def remove_dataset(self, dataset: str, *, reason: str, shipped: Collection[str] = ()) -> int:
        """Take every row of a data set out of all fits and lists; how many. RequestError for one that is not there,
        or that ships (``shipped``)."""
        reason = _check_reason(reason)
        known = self.datasets()
        if dataset not in known and dataset in shipped:
            remedy = "a data set of this farm's: this one ships, `--only-own` leaves it out of fits and predictions"
            raise RequestError("dataset", dataset, remedy)
        if dataset not in known and dataset != OWN:
            raise unknown_name("dataset", dataset, {OWN, *known})
        with self.store.write() as db:
            return removals.remove_dataset(db, dataset, reason=reason, who=user_at_host())

    def remove_ids(self, ids: Sequence[str], *, reason: str) -> int:
        """Take the rows of these measurement ids out of all fits and lists; how many. RequestError, and none is taken
        out, where one is not there."""
        reason = _check_reason(reason)
        with self.store.write() as db:
            there = removals.known(db, ids)
            if unknown := [name for name in ids if name not in there]:
                remedy = "the measurement_id of a row that is there, as in `farm results list --json`"
                raise RequestError("id", unknown[0], remedy)
            return removals.remove_ids(db, ids, reason=reason, who=user_at_host())

    def removed(self) -> list[dict[str, Any]]:
        """Every row that was taken out, the last first: its id, data set, why, who and when."""
        with self.store.read() as db:
            return [_removal(row) for row in removals.removed(db)]

    def samples(self, measurement_id: str) -> bytes:
        """The power log behind one of the farm's own measurements. RequestError where none is kept."""
        with self.store.read() as db:
            data = sql.samples(db, measurement_id)
        if data is None:
            remedy = (
                "the measurement_id of a measurement of this farm's, as in `farm results list --json`, whose log "
                "is kept (FARM_RAW_LOGS_BYTES: the oldest are dropped)"
            )
            raise RequestError("id", measurement_id, remedy)
        return data

    def check(self, dataset: str | None = None, *, model: str | None = None, gpu: str | None = None) -> None:
        """RequestError for a name that neither the store nor the catalog has: a typo would answer with nothing."""
        if dataset is not None and dataset != OWN and dataset not in (known := self.datasets()):
            raise unknown_name("dataset", dataset, {OWN, *known})
        for field, name, entries in (("model", model, catalog.models()), ("gpu", gpu, catalog.gpus())):
            if name is not None and name not in entries:
                with self.store.read() as db:
                    there = sql.names(db, field)
                if name not in there:
                    raise unknown_name(field, name, {*entries, *there})

    def datasets(self) -> dict[str, int]:
        """Rows of each imported data set."""
        with self.store.read() as db:
            return sql.datasets(db)

    def add(self, rows: Sequence[Row], *, dataset: str | None = None, default: str = "imported") -> Imported:
        """Import rows, all of them or none.

        Args:
            rows: as read by :func:`farm.files.table.read_table`.
            dataset: the data set of every row, whatever the rows say.
            default: that of rows that say nothing.
        """
        named = [replace(row, dataset=check_dataset(dataset or row.dataset or default)) for row in rows]
        imported = 0
        with self.store.write() as db:
            identified = iter(with_ids(named))
            while batch := list(islice(identified, BATCH)):
                fresh = _fresh(db, batch)
                sql.add_rows(db, [_columns(dataset, row) for (dataset, _), row in fresh.items()])
                listed.add_imported(db, fresh)
                imported += len(fresh)
        names = tuple(sorted({str(row.dataset) for row in named}))
        return Imported(rows=len(named), imported=imported, duplicates=len(named) - imported, datasets=names)


def _check_reason(reason: str) -> str:
    reason = reason.strip()
    if not reason or len(reason) > 500 or not reason.isprintable():
        raise RequestError("reason", reason, "why, in one line of up to 500 characters")
    return reason


def _removal(row: Mapping[str, Any]) -> dict[str, Any]:
    """A removed row as documents state it."""
    names = {"job_id": "job", "at": "removed_at"}
    return {names.get(key, key): utc(value) if key == "at" else value for key, value in row.items()}


def check_dataset(name: str) -> str:
    """The name of a data set that rows may be imported as. RequestError for one that cannot be."""
    if name == OWN:
        raise RequestError("dataset", name, "another name (--dataset NAME): this one is the farm's own measurements")
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise RequestError("dataset", name, "a name of up to 200 characters")
    return name


def document(row: Row) -> dict[str, Any]:
    """A row as `farm results list --json` prints it."""
    return row.to_dict() | {"flags": list(row.flags), "cfg": row.configuration.cfg}


def newest(store: Store, limit: int) -> list[dict[str, Any]]:
    """The newest accepted measurements, as `farm measure --json` prints them."""
    with store.read() as db:
        return [dict(record["document"]) for record in sql.own(db, newest=limit)]


def own_row(record: Mapping[str, Any]) -> Row:
    """One of the farm's own, from its document and where it came from."""
    m = Measurement.from_dict(record["document"])
    phases = {
        f"{phase}_{unit}": getattr(part, unit) for phase, part in m.phases.items() for unit in ("joules", "seconds")
    }
    return replace(
        Row.of(m),
        dataset=OWN,
        extra={
            **phases,
            "idle_watts_std": m.idle_watts_std,
            "systematic_percent": m.systematic_percent,
            "forwards": m.forwards,
            "repeats": m.repeats,
            "job": record["job_id"],
            "attempt": record["attempt"],
            "worker": record["worker"],
        },
    )


def imported_row(record: Mapping[str, Any]) -> Row:
    """An imported one, from its document."""
    return Row.from_document(record["document"])


def _fresh(db: Connection, batch: Sequence[tuple[str, Row]]) -> dict[tuple[str, str], Row]:
    """What of a batch is new, by data set and id."""
    by_dataset: dict[str, dict[str, Row]] = {}
    for measurement_id, row in batch:
        by_dataset.setdefault(str(row.dataset), {}).setdefault(measurement_id, row)
    fresh = {}
    for dataset, rows in by_dataset.items():
        known = sql.known_ids(db, dataset, list(rows))
        for measurement_id, row in rows.items():
            if measurement_id not in known:
                fresh[dataset, measurement_id] = replace(row, measurement_id=measurement_id)
    return fresh


def _columns(dataset: str, row: Row) -> dict[str, Any]:
    """An imported row as columns of tables.DatasetRow; its document is what every table has, and the rest."""
    return {
        "dataset": dataset,
        "measurement_id": row.measurement_id,
        "model": row.configuration.model,
        "gpu": row.configuration.gpu,
        "document": {**replace(row, extra={}).to_dict(), "extra": dict(row.extra)},
    }


def raw_logs_bytes(store: Store) -> int:
    """How much room the power logs of all measurements take."""
    with store.read() as db:
        return sql.samples_bytes(db)
