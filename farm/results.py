"""Measured rows out of the database and into it: as values, as CSV, as Parquet."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from farm.domain import Measurement, OperationError, RequestError
from farm.domain.table import COLUMNS, Row, parse_row, parse_rows, read_csv, with_ids
from farm.store import Connection, Store
from farm.store import results as sql

OWN: Final = "farm"  # the data set of the farm's own measurements; nobody else's may be called so
PARQUET: Final = (".parquet", ".pq")
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
                with closing(sql.own(db, model=model, gpu=gpu)) as found:
                    yield from map(_own_row, found)
            if dataset != OWN:
                with closing(sql.imported(db, dataset=dataset, model=model, gpu=gpu)) as found:
                    yield from map(_imported_row, found)

    def datasets(self) -> dict[str, int]:
        """Rows of each imported data set."""
        with self.store.read() as db:
            return sql.datasets(db)

    def add(self, rows: Sequence[Row], *, dataset: str | None = None, default: str = "imported") -> Imported:
        """Import rows, all of them or none.

        Args:
            rows: as read by :func:`read_table`.
            dataset: the data set of every row, whatever the rows say.
            default: that of rows that say nothing.
        """
        named = [replace(row, dataset=_dataset(dataset or row.dataset or default)) for row in rows]
        imported = 0
        with self.store.write() as db:
            identified = iter(with_ids(named))
            while batch := list(islice(identified, BATCH)):
                fresh = _fresh(db, batch)
                sql.add_rows(db, fresh)
                imported += len(fresh)
        names = tuple(sorted({str(row.dataset) for row in named}))
        return Imported(rows=len(named), imported=imported, duplicates=len(named) - imported, datasets=names)


def newest(store: Store, limit: int) -> list[dict[str, Any]]:
    """The newest accepted measurements, as `farm measure --json` prints them."""
    with store.read() as db:
        return [dict(found["document"]) for found in sql.own(db, newest=limit)]


def read_table(path: Path) -> list[Row]:
    """Every row of a CSV or Parquet file, checked. RequestError naming row, column and remedy."""
    if path.suffix not in PARQUET:
        return read_csv(path)
    pyarrow, parquet = _pyarrow()
    try:
        with path.open("rb") as file:
            table = parquet.read_table(file)
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0]
        raise RequestError("table", str(path), f"a readable Parquet file ({reason})") from None
    except pyarrow.ArrowException as error:
        raise RequestError("table", str(path), f"a Parquet file ({str(error).splitlines()[0]})") from None
    columns = [column.to_pylist() for column in table.columns]
    values = zip(*columns, strict=True) if columns else iter(())
    return parse_rows(table.column_names, values, source=str(path))


def write_table(path: Path, rows: Iterator[Row]) -> int:
    """Write rows to a CSV or Parquet file; how many. The file appears whole, or not at all."""
    if path.suffix not in (".csv", *PARQUET):
        raise RequestError("file", str(path), "a name that ends in .csv or .parquet")
    documents = [row.to_dict() for row in rows]
    names = list(dict.fromkeys([*COLUMNS, *(name for document in documents for name in document)]))
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise RequestError("file", str(path), f"a file that can be written ({error.strerror})") from None
    os.close(descriptor)
    draft = Path(name)
    try:
        (_write_parquet if path.suffix in PARQUET else _write_csv)(draft, names, documents)
        draft.chmod(0o644)
        draft.replace(path)
    except OSError as error:
        raise OperationError(f"{path}: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)
    return len(documents)


def _write_csv(path: Path, names: Sequence[str], documents: Sequence[Mapping[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(documents)


def _write_parquet(path: Path, names: Sequence[str], documents: Sequence[Mapping[str, Any]]) -> None:
    pyarrow, parquet = _pyarrow()
    kinds = {**dict.fromkeys(_WHOLE, pyarrow.int64()), **dict.fromkeys(_REAL, pyarrow.float64())}
    kinds |= {name: pyarrow.string() for name in COLUMNS if name not in kinds}
    arrays = []
    for name in names:
        values = [document.get(name) for document in documents]
        try:
            arrays.append(pyarrow.array(values, type=kinds.get(name)))
        except pyarrow.ArrowException:  # an extra column of mixed kinds
            arrays.append(pyarrow.array([None if value is None else str(value) for value in values]))
    parquet.write_table(pyarrow.table(arrays, names=list(names)), path)


_WHOLE: Final = ("resolution", "width", "height", "steps", "cfg", "prompts", "batch", "seed")
_REAL: Final = ("energy_joules", "energy_std_joules", "idle_watts", "duration_seconds")


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise OperationError("Parquet needs pyarrow: pip install 'joulefarm[analysis]', or use .csv") from None
    return pyarrow, pyarrow.parquet


def _own_row(found: Mapping[str, Any]) -> Row:
    m = Measurement.from_dict(found["document"])
    phases = {
        f"{phase}_{unit}": getattr(part, unit) for phase, part in m.phases.items() for unit in ("joules", "seconds")
    }
    return Row(
        configuration=m.configuration,
        energy_joules=m.energy_joules,
        energy_std_joules=m.energy_std_joules,
        duration_seconds=m.duration_seconds,
        idle_watts=m.idle_watts,
        meter=m.meter,
        flags=m.flags,
        dataset=OWN,
        measurement_id=m.measurement_id,
        device_name=str(m.environment.get("device_name", "")),
        measured_at=m.measured_at,
        extra={
            **phases,
            "idle_watts_std": m.idle_watts_std,
            "systematic_percent": m.systematic_percent,
            "forwards": m.forwards,
            "repeats": m.repeats,
            "job": found["job_id"],
            "attempt": found["attempt"],
            "worker": found["worker"],
        },
    )


def _imported_row(found: Mapping[str, Any]) -> Row:
    document = found["document"]
    return replace(parse_row({**document, "extra": None}), extra=document["extra"])


def _fresh(db: Connection, batch: Sequence[tuple[str, Row]]) -> list[dict[str, Any]]:
    """What of a batch is new, as columns of tables.DatasetRow."""
    by_dataset: dict[str, dict[str, Row]] = {}
    for measurement_id, row in batch:
        by_dataset.setdefault(str(row.dataset), {}).setdefault(measurement_id, row)
    fresh = []
    for dataset, rows in by_dataset.items():
        known = sql.known_ids(db, dataset, list(rows))
        for measurement_id, row in rows.items():
            if measurement_id not in known:
                fresh.append(
                    {
                        "dataset": dataset,
                        "measurement_id": measurement_id,
                        "model": row.configuration.model,
                        "gpu": row.configuration.gpu,
                        "document": _document(replace(row, measurement_id=measurement_id)),
                    }
                )
    return fresh


def _document(row: Row) -> dict[str, Any]:
    """The columns that every table has, and ``extra``."""
    return {**replace(row, extra={}).to_dict(), "extra": dict(row.extra)}


def _dataset(name: str) -> str:
    if name == OWN:
        raise RequestError("dataset", name, "another name (--dataset NAME): this one is the farm's own measurements")
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise RequestError("dataset", name, "a name of up to 200 characters")
    return name
