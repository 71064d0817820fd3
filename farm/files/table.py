"""A table of measurements as a file: CSV, or Parquet by its suffix. Written whole or not at all.

Models and GPUs may be called there by any name that they go by: what is read has the names of the catalog.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from farm import catalog
from farm.domain import OperationError, RequestError
from farm.domain.configuration import WHOLE
from farm.domain.row import COLUMNS, REAL, Row
from farm.domain.table import BadRows, parse_rows
from farm.domain.text import plain_cell, read_cell
from farm.files.atomic import atomic_write
from farm.files.spreadsheet import read_sheet

PARQUET: Final = (".parquet", ".pq")


@dataclass(frozen=True, slots=True)
class Cells:
    """A table as it stands in a file."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    source: str  # its path, and how it was read where that is not plain


def read_table(path: str | Path, *, energy_required: bool = True, field: str = "table") -> list[Row]:
    """Every row of a file, checked; ``energy_required=False`` ignores a column of energies, ``field`` is what refusals
    call the file.

    Raises RequestError for a file that is no such table, or naming each row, column and remedy; for a model or a GPU
    that is nearly one of the catalog, too. A name that is near to none is taken as it is: a lab may have rows of what
    the catalog lacks.
    """
    path = Path(path)
    cells = read_cells(path, field)
    rows = parse_rows(cells.header, cells.rows, source=cells.source, energy_required=energy_required)
    _refuse_rounded_ids(rows, str(path))
    return _with_catalog_names(rows, str(path))


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet by its name."""
    return path.suffix.lower() in PARQUET


def write_table(path: Path, rows: Iterable[Row]) -> int:
    """Write rows to a file; how many. RequestError for a name or folder that cannot be written to."""
    documents = [row.to_dict() for row in rows]
    names = list(dict.fromkeys([*COLUMNS, *(name for document in documents for name in document)]))
    return write_documents(path, names, documents, "file")


def write_documents(path: Path, names: Sequence[str], documents: Sequence[Mapping[str, Any]], field: str) -> int:
    """Write any rows with these columns, as :func:`write_columns` does; how many."""
    write_columns(path, {name: [document.get(name) for document in documents] for name in names}, field)
    return len(documents)


def write_columns(path: Path, columns: Mapping[str, Sequence[Any]], field: str) -> None:
    """Write columns of equal length, whole or not at all: texts of a CSV file so that a spreadsheet computes nothing.

    RequestError, naming ``field``, for a name or folder that cannot be written to.
    """
    check_name(path, field)
    with atomic_write(path, field) as file:
        if is_parquet(path):
            _write_parquet(file, columns)
        else:
            file.write_text(csv_text(columns), encoding="utf-8")


def check_name(path: Path, field: str) -> None:
    """RequestError for a name of no format that :func:`write_columns` knows."""
    if path.suffix.lower() not in (".csv", *PARQUET):
        raise RequestError(field, str(path), "a name that ends in .csv or .parquet")


def csv_text(columns: Mapping[str, Sequence[Any]]) -> str:
    """The columns as CSV: true and false in small letters, nothing that a spreadsheet would compute."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(plain_cell, columns))
    writer.writerows(zip(*(_plain(values) for values in columns.values()), strict=True))
    return out.getvalue()


def _plain(values: Sequence[Any]) -> Iterable[Any]:
    """A column by :func:`plain_cell`, which changes no number: of texts and switches the distinct ones are asked."""
    types = set(map(type, values)) - {type(None)}
    if types <= {int, float}:
        return values
    if not types <= {str} and not types <= {bool}:
        return map(plain_cell, values)
    known = {value: plain_cell(value) for value in set(values)}
    return map(known.__getitem__, values)


def write_csv(path: Path, names: Sequence[str], documents: Iterable[Mapping[str, Any]]) -> None:
    """Write rows with these columns as CSV, one after another: those of :func:`csv_text`, however many."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(map(plain_cell, names))
        writer.writerows([plain_cell(document.get(name)) for name in names] for document in documents)


def read_cells(path: Path, field: str = "table") -> Cells:
    """Header and rows of any table: texts of a CSV file as people have them, values of a Parquet file.

    RequestError, naming ``field``, for a file that is none.
    """
    if is_parquet(path):
        return _read_parquet(path, field)
    try:
        sheet = read_sheet(path)
    except RequestError as error:
        raise RequestError(field, error.value, error.remedy) from None
    source = f"{path} ({sheet.understood})" if sheet.understood else str(path)
    rows = [[read_cell(cell) for cell in line] if "'" in "".join(line) else line for line in sheet.rows]
    return Cells(sheet.header, rows, source)


def _read_parquet(path: Path, field: str) -> Cells:
    source = str(path)
    pyarrow, parquet = _pyarrow()
    try:
        with path.open("rb") as file:
            table = parquet.read_table(file)
    except OSError as error:
        raise RequestError(field, source, f"a readable Parquet file ({error.strerror or _reason(error)})") from None
    except pyarrow.ArrowException as error:
        raise RequestError(field, source, f"a Parquet file ({_reason(error)})") from None
    columns = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        try:
            columns.append(_scalars(column.to_pylist()))
        # A date or a length of time that Python does not have, a zone that is nowhere, a text in no encoding.
        except (pyarrow.ArrowException, ArithmeticError, LookupError, ValueError) as error:
            raise RequestError(
                field, source, f"values that can be read in its column {name} ({_reason(error)})"
            ) from None
    return Cells(table.column_names, list(zip(*columns, strict=True)) if columns else [], source)


def _scalars(values: list[Any]) -> list[Any]:
    """Values as cells have them: a list or a record as it is written, bytes as the text that they hold."""
    types = set(map(type, values))
    if bytes in types:
        return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]
    if types.isdisjoint((list, dict, tuple)):
        return values
    return [None if value is None else str(value) for value in values]


def _reason(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _refuse_rounded_ids(rows: Sequence[Row], source: str) -> None:
    """BadRows where rows that differ share an id such as 1.23E+15: a spreadsheet took long ids for numbers."""
    first: dict[str, Row] = {}
    problems = []
    for number, row in enumerate(rows, start=1):
        identifier = row.measurement_id or ""
        if re.fullmatch(r"[0-9](\.[0-9]+)?E\+[0-9]+", identifier) and first.setdefault(identifier, row) != row:
            remedy = "the whole id: a spreadsheet has rounded it, and rows of one id count once"
            problems.append(f"row {number}, measurement_id: {identifier}: {remedy}")
    if problems:
        raise BadRows(source, problems)


def _with_catalog_names(rows: Sequence[Row], source: str) -> list[Row]:
    """The rows with models and GPUs by their names in the catalog. BadRows where one is nearly one of these."""
    model_name, gpu_name = cache(catalog.model_name), cache(catalog.gpu_name)
    named: list[Row] = []
    problems: dict[str, None] = {}
    for row in rows:
        c = row.configuration
        try:
            model, gpu = model_name(c.model), gpu_name(c.gpu)
        except RequestError as error:
            problems[str(error)] = None
            continue
        if (model, gpu) != (c.model, c.gpu):
            row = replace(row, configuration=replace(c, model=model, gpu=gpu))
        named.append(row)
    if problems:
        raise BadRows(source, list(problems))
    return named


def _write_parquet(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    pyarrow, parquet = _pyarrow()
    types = {**dict.fromkeys(_WHOLE, pyarrow.int64()), **dict.fromkeys(REAL, pyarrow.float64())}
    types |= {name: pyarrow.string() for name in COLUMNS if name not in types}
    arrays = []
    for name, values in columns.items():
        try:
            arrays.append(pyarrow.array(values, type=types.get(name)))
        except pyarrow.ArrowException:  # an extra column of mixed kinds
            arrays.append(pyarrow.array([None if value is None else str(value) for value in values]))
    parquet.write_table(pyarrow.table(arrays, names=list(columns)), path)


_WHOLE: Final = ("resolution", "cfg", "includes_idle", *WHOLE)


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise OperationError("Parquet needs pyarrow: pip install 'joulefarm[analysis]', or use .csv") from None
    return pyarrow, pyarrow.parquet
