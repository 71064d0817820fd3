"""A table of measurements as people exchange it: its header, its rows one by one, and which of them repeat.

Shared by ``farm results import`` and ``--data FILE``, whatever the file's format (:mod:`farm.files.table`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from farm.domain.errors import RequestError
from farm.domain.parsing import is_empty
from farm.domain.row import ENERGIES, REQUIRED, Row, column_name, parse_row

PROBLEMS_SHOWN: Final = 10


class BadRows(RequestError):
    """Rows of a table that cannot be taken; ``problems`` names each by row number, column and remedy."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        shown = "; ".join(self.problems[:PROBLEMS_SHOWN])
        more = len(self.problems) - PROBLEMS_SHOWN
        super().__init__("table", source, shown + (f"; and {more} more" if more > 0 else ""))


def parse_rows(
    header: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    source: str,
    energy_required: bool = True,
) -> list[Row]:
    """Check and convert rows of texts or numbers.

    Args:
        header: column names, whatever their case; REQUIRED ones (and ``resolution``, or ``width`` and ``height``) must
            be there. ENERGIES names what may stand for ``energy_joules``. A column without name and values is none.
        rows: values in the order of the header; the first is row 1. Rows that hold nothing are none.
        source: what messages call the table, usually its file name.
        energy_required: False for tables of candidates, whose energies are ignored. A row that states its duration may
            leave its energy empty all the same.

    Raises:
        RequestError: a column is missing or there twice.
        BadRows: a value cannot be taken; nothing is returned then.
    """
    names = _check_header(header, source, energy_required)
    rows = _without_index(names, list(rows))
    parsed: list[Row] = []
    problems: list[str] = []
    for number, values in enumerate(rows, start=1):
        if all(map(is_empty, values)) or _is_header(values, names):
            continue  # an empty line, one of separators alone, or the header again, of a second file behind the first
        try:
            cells = _named_cells(names, values)
            parsed.append(parse_row(cells, energy_required=energy_required))
        except RequestError as error:
            problems.append(f"row {number}, {error}")
    if problems:
        raise BadRows(source, problems)
    return parsed


def _is_header(values: Sequence[Any], names: Sequence[str]) -> bool:
    """Whether a row names the columns; mostly its first cell tells."""
    return column_name(values[0]) == names[0] and [column_name(value) for value in values] == names


def refuse_repeats(rows: Sequence[Row], source: str) -> None:
    """BadRows where the id of a row came before, in a table where every row must count once."""
    first_numbers: dict[tuple[str | None, str], int] = {}
    problems = []
    for number, row in enumerate(rows, start=1):
        if row.measurement_id is None:
            continue
        first = first_numbers.setdefault((row.dataset, row.measurement_id), number)
        if first != number:
            problems.append(
                f"row {number}, measurement_id: {row.measurement_id}: already in row {first}; keep one of the two"
            )
    if problems:
        raise BadRows(source, problems)


def with_ids(rows: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    """Each row with its id. One without gets a digest of its content and of how often that came before it, so that
    a file imported twice counts once, while the same reading found twice in one file stays two rows."""
    counts: dict[str, int] = {}
    for row in rows:
        if row.measurement_id is not None:
            yield row.measurement_id, row
            continue
        content = row.to_dict()
        if row.clock_limit_mhz is None:
            del content["clock_limit_mhz"]  # a later column: a file that was imported before it came counts once still
        text = json.dumps(content, sort_keys=True, default=str)
        count = counts[text] = counts.get(text, 0) + 1
        yield "row-" + hashlib.sha256(f"{count} {text}".encode()).hexdigest()[:32], row


def _check_header(header: Sequence[str], source: str, energy_required: bool) -> list[str]:
    names = ["" if is_empty(name) else column_name(name) for name in header]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise RequestError("column", twice[0], f"once in {source}")
    needed = [name for name in REQUIRED if name != "energy_joules"]
    missing = [name for name in needed if name not in names]
    if "resolution" not in names and not {"width", "height"} <= set(names):
        missing.append("resolution")
    if energy_required and ENERGIES.keys().isdisjoint(names):
        missing.append("energy_joules")
    if missing:
        given = ", ".join(filter(None, names)) or "nothing"
        raise RequestError("column", missing[0], f"required in {source}; its header has {given}")
    return names


def _without_index(names: Sequence[str], rows: list[Sequence[Any]]) -> list[Sequence[Any]]:
    """The rows less what a data frame writes in front of them unless told otherwise: their numbers, without a name."""
    if not names or names[0]:
        return rows
    numbers = [str(row[0]).strip() for row in rows if not all(map(is_empty, row))]
    if not all(re.fullmatch(r"[0-9]+", number) for number in numbers) or len(set(numbers)) != len(numbers):
        return rows
    return [[None, *row[1:]] for row in rows]


def _named_cells(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    """The values of a row by their columns. RequestError for one without a column, or for too few."""
    if len(values) < len(names):
        raise RequestError("columns", len(values), f"as many values as the header has ({len(names)})")
    for place, value in enumerate(values):
        if (place >= len(names) or not names[place]) and not is_empty(value):
            raise RequestError(f"column {place + 1}", value, "empty, or a name for that column in the header")
    cells = {name: value for name, value in zip(names, values, strict=False) if name}
    if sum(not is_empty(value) for value in cells.values()) == 1 and len(cells) > 1:
        name, value = next((name, value) for name, value in cells.items() if not is_empty(value))
        raise RequestError(name, value, "a whole measurement; where this line is a sum or a note, take it out")
    return cells
