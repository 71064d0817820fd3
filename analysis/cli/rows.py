"""The rows that a command works on: a file's, or those that ship with the project and the farm's beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.cli.options import parse_where
from analysis.cli.stored import farm_store
from farm.domain.errors import RequestError

if TYPE_CHECKING:
    from analysis.table import Table

MEASURED = "measured"


@dataclass(frozen=True, slots=True)
class Known:
    """Rows, and where they came from in words."""

    table: Table
    source: str
    stored: bool  # some are the farm's own


def known_rows(data: str | None, where: Sequence[str], db: str | None, only_own: bool = False) -> Known:
    """Rows of ``--data``; else those of the farm's database and those that ship, which ``--only-own`` leaves out.

    A farm that measured nothing yet, only simulated or estimated, has its own rows alone: they are fitted among their
    kind. Raises RequestError where ``--where`` leaves no row of some.
    """
    return _picked(_rows(data, db, only_own), where)


def fit_rows(data: str | None, where: Sequence[str], db: str | None, only_own: bool = False) -> Known:
    """Rows for a fit that nobody asked for by name: of the farm's own only measured ones, unless ``--where origin=...``
    says otherwise."""
    known = _rows(data, db, only_own)
    if data is not None or "origin" in parse_where(where):
        return _picked(known, where)
    measured = known.table.where(origin=MEASURED)
    if not len(measured) and not only_own:
        from analysis.shipped import WORDS, shipped_rows

        return _picked(Known(shipped_rows(), WORDS, False), where)
    return _picked(Known(measured, known.source, known.stored), where)


def farm_rows(db: str | None) -> Table:
    """Every row that the farm's database holds: its own measurements and imported data sets. Writes nothing."""
    from analysis.table import Table

    with farm_store(db) as store:
        if store is None:
            return Table.from_rows(())
        from farm.results import Results

        return Table.from_rows(Results(store).rows())


def _rows(data: str | None, db: str | None, only_own: bool) -> Known:
    from analysis.shipped import WORDS, shipped_rows, with_shipped
    from analysis.table import Table

    if data is not None:
        if only_own:
            raise RequestError(
                "only-own", "with --data", "one of the two: --data FILE leaves out all other rows anyway"
            )
        return Known(Table.read(data, field="data"), data, stored=False)
    farm_table = farm_rows(db)
    words = "the farm's database"
    if only_own:
        return Known(farm_table, words, stored=len(farm_table) > 0)
    if not len(farm_table):
        return Known(shipped_rows(), WORDS, stored=False)
    if MEASURED not in farm_table.origin:
        return Known(farm_table, words, stored=True)
    return Known(with_shipped(farm_table), f"{words} and {WORDS}", stored=True)


def _picked(known: Known, where: Sequence[str]) -> Known:
    picked = known.table.where(**parse_where(where))
    if len(known.table) and not len(picked):
        raise RequestError("where", " ".join(where), f"values that rows of {known.source} have; none is left")
    return Known(picked, known.source, known.stored)
