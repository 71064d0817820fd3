"""Columns as text, for a notebook's or a console's eye."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from farm.domain.words import significant

ROWS_SHOWN: Final = 10


def grid(columns: Mapping[str, Sequence[Any]], *, rows: int | None = None) -> str:
    """The first rows of some columns under their names, and how many more there are; ``rows`` says how many there are
    where the columns are only their head."""
    count = len(next(iter(columns.values()), ()))
    total = count if rows is None else rows
    lines = [list(columns), *zip(*(map(cell, values[:ROWS_SHOWN]) for values in columns.values()), strict=True)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]
    text = ["  ".join(each.rjust(width) for each, width in zip(line, widths, strict=True)) for line in lines]
    more = total - min(count, ROWS_SHOWN)
    return "\n".join([*text, *([f"and {more:,} more"] if more else [])])


def cell(value: Any) -> str:
    """One value in few characters; a dash for what is not known."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return significant(value, 4) if isinstance(value, float) else str(value)
