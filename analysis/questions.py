"""Which configurations a question is about: the product of lists of values, or the rows of a file.

Names are taken as people spell them. What cannot be answered is left out with its reason; where nothing is left, that
reason is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np

from analysis.prediction import refusals
from analysis.table import Table
from analysis.work import models
from farm import catalog
from farm.domain import Configuration
from farm.domain.configuration import DEFAULTS
from farm.domain.errors import RequestError
from farm.domain.parsing import is_absent
from farm.domain.row import LIMITS, Row, parse_row
from farm.files.table import read_cells

COLUMNS: Final = (*Configuration.__dataclass_fields__, "resolution")
CIRCUMSTANCES: Final = ("measured_at", "idle_watts", "meter", *LIMITS)  # of a row, which answers rest on as well
USUAL: Final[Mapping[str, Any]] = {**DEFAULTS, "cfg": 0, "prompts": 1}  # where neither file nor option says
REQUIRED: Final = ("model", "gpu", "resolution", "steps", "precision")
MAX_CONFIGURATIONS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Question:
    """The configurations that can be answered, and what was left out: each with its keys, the field and why."""

    table: Table
    left_out: Sequence[Mapping[str, Any]]
    single: bool  # one configuration was asked about, not a list of them


def from_lists(axes: Mapping[str, Sequence[Any]]) -> Question:
    """The product of the values of every axis, the last changing fastest.

    Args:
        axes: values by model, gpu, resolution, steps, precision, and any other key of a configuration, or limit.

    Raises:
        RequestError: an axis is missing, the product is too long, or nothing of it can be answered.
    """
    for name in REQUIRED:
        if not axes.get(name):
            raise RequestError(name, None, "required")
    count = int(np.prod([float(len(values)) for values in axes.values()]))
    if count > MAX_CONFIGURATIONS:
        raise RequestError("lists", f"{count:,} configurations", f"at most {MAX_CONFIGURATIONS:,}")
    rows = list(product(*axes.values()))
    return _question({name: [row[place] for row in rows] for place, name in enumerate(axes)}, single=count == 1)


def from_file(path: str | Path, options: Mapping[str, Any]) -> Question:
    """Every row of a CSV or Parquet file; energies in it are ignored.

    ``options`` are values by key for columns that the file does not have. RequestError for a file that cannot be read,
    a column that is missing or given twice, or where no row can be answered.
    """
    columns = _read(Path(path))
    for name, value in options.items():
        if name in columns or (name == "resolution" and "width" in columns):
            raise RequestError(name, value, f"no such option: {path} has that column")
    count = len(next(iter(columns.values()), ()))
    columns |= {name: [value] * count for name, value in options.items()}
    if {"width", "height"} <= columns.keys():
        required: tuple[str, ...] = tuple(name for name in REQUIRED if name != "resolution")
    else:
        required = REQUIRED
    for name in required:
        if name not in columns:
            raise RequestError("column", name, f"required in {path}, or as an option")
    if not count:
        raise RequestError("in", str(path), "at least one row")
    return _question(columns, single=False)


def _question(columns: Mapping[str, Sequence[Any]], *, single: bool) -> Question:
    columns = {**columns}
    count = len(columns["model"])
    for name, default in USUAL.items():
        values = columns.get(name, ())
        if not values:
            columns[name] = [default] * count
        elif any(map(is_absent, set(values))):
            columns[name] = [default if is_absent(value) else value for value in values]
    table, wrong = _parsed(columns, count)
    table, nameless = _in_catalog(table)
    numbers = table.number - 1
    wrong |= {int(numbers[place]): error for place, error in (refusals(table) | nameless).items()}
    kept = table.take(~np.isin(numbers, list(wrong)))
    if not len(kept):
        raise _of_all(wrong, count)
    left_out = [
        {
            "row": row + 1,
            **{name: values[row] for name, values in columns.items() if name in COLUMNS},
            "field": error.field,
            "why": error.remedy if error.field == "cfg" else f"{error.value}: {error.remedy}",
        }
        for row, error in sorted(wrong.items())
    ]
    return Question(kept, left_out, single)


def _of_all(wrong: Mapping[int, RequestError], count: int) -> RequestError:
    first = wrong[min(wrong)]
    if count == 1:
        return first
    return RequestError(first.field, first.value, f"{first.remedy} (none of {count} configurations can be answered)")


def _parsed(columns: Mapping[str, Sequence[Any]], count: int) -> tuple[Table, dict[int, RequestError]]:
    """The rows whose values are ones of a configuration, numbered as they came; the others with their reasons.

    All at once where all are good, which is ten times as fast as one by one.
    """
    try:
        return Table.from_columns({name: np.array(values, dtype=object) for name, values in columns.items()}), {}
    except RequestError:
        pass
    wrong: dict[int, RequestError] = {}
    good: dict[int, Row] = {}
    for row, values in enumerate(zip(*columns.values(), strict=True)):
        try:
            good[row] = parse_row(dict(zip(columns, values, strict=True)), energy_required=False)
        except RequestError as error:
            wrong[row] = error
    if not good:
        raise _of_all(wrong, count)
    parsed = Table.from_rows(good.values())
    return parsed.numbered(np.array(list(good), dtype=np.int64) + 1), wrong


def _in_catalog(table: Table) -> tuple[Table, dict[int, RequestError]]:
    """The same rows under the names that the catalog has for their models and GPU types; and the rows, by their place,
    whose names it has nothing for."""
    wrong: dict[int, RequestError] = {}
    for column, find in (("model", models.find), ("gpu", _find_gpu)):
        names = {}
        for name in table.names(column):
            try:
                names[name] = find(name)
            except RequestError as error:
                wrong |= dict.fromkeys(np.flatnonzero(getattr(table, column) == name).tolist(), error) | wrong
        table = table.renamed(column, names)
    return table, wrong


def _find_gpu(text: str) -> str:
    return catalog.find_gpu(text).name


def _read(path: Path) -> dict[str, list[Any]]:
    """The columns of a file that a configuration or its CIRCUMSTANCES have, as texts or as Parquet's own values."""
    cells = read_cells(path, "in")
    header = [str(name).strip() for name in cells.header]
    rows = [row for row in cells.rows if not all(map(is_absent, row))]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise RequestError(f"in row {number}", len(row), f"as many values as the header has ({len(header)})")
    return _chosen(header, list(zip(*rows, strict=True)) or [()] * len(header), path)


def _chosen(header: Sequence[str], values: Sequence[Sequence[Any]], path: Path) -> dict[str, list[Any]]:
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise RequestError("column", twice[0], f"once in {path}")
    kept = (*COLUMNS, *CIRCUMSTANCES)
    return {name: list(column) for name, column in zip(header, values, strict=True) if name in kept}
