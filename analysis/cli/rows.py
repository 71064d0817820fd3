"""The rows that a command works on: a file's, the farm's, or those that ship with the project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.cli.options import parse_where
from farm.domain.errors import RequestError

if TYPE_CHECKING:
    from analysis.table import Table


@dataclass(frozen=True, slots=True)
class Known:
    """Rows, and where they came from in words."""

    table: Table
    source: str
    stored: bool  # they are the farm's own


def known_rows(data: str | None, where: Sequence[str], db: str | None) -> Known:
    """Rows of ``--data``; else of the farm's database; else, where that has none, those that ship.

    Raises RequestError where ``--where`` leaves no row of some.
    """
    from analysis.prediction import SHIPPED_WORDS, paper_rows
    from analysis.table import Table

    chosen = parse_where(where)
    if data is not None:
        known = Known(Table.read(data), data, stored=False)
    else:
        table = farm_rows(db)
        known = Known(table, "the farm's database", True) if len(table) else Known(paper_rows(), SHIPPED_WORDS, False)
    picked = known.table.where(**chosen)
    if len(known.table) and not len(picked):
        raise RequestError("where", " ".join(where), f"values that rows of {known.source} have; none is left")
    return Known(picked, known.source, known.stored)


def fit_rows(data: str | None, where: Sequence[str], db: str | None) -> Known:
    """Rows for a fit that nobody asked for by name: of the farm's own only measured ones, unless ``--where origin=...``
    says otherwise, and those that ship where there are none."""
    from analysis.prediction import SHIPPED_WORDS, paper_rows

    known = known_rows(data, where, db)
    if data is not None or any(pair.startswith("origin") for pair in where):
        return known
    measured = known.table.where(origin="measured")
    return Known(measured, known.source, known.stored) if len(measured) else Known(paper_rows(), SHIPPED_WORDS, False)


def farm_rows(db: str | None) -> Table:
    """Every row that the farm's database holds: its own measurements and imported data sets. Writes nothing."""
    from analysis.table import Table
    from farm.database import opened
    from farm.results import Results

    with opened(db, create=False) as store:
        return Table.from_rows(Results(store).rows())
