"""The paper's figures and tables, from rows at hand, beside what the paper prints.

Every part says which rows it wants; where some are missing it says which, and the rest is made without them.
"""

from __future__ import annotations

from collections.abc import Iterable

from analysis.report.reproduce.figures import FIGURES
from analysis.report.reproduce.rows import Made, Parts
from analysis.report.reproduce.simulation import with_simulated
from analysis.report.reproduce.tables import TABLES
from analysis.table import Table
from farm.domain.errors import RequestError

__all__ = ["FIGURES", "TABLES", "Made", "chosen", "figure", "table", "with_simulated"]


def figure(number: int, table: Table) -> Made:
    """Make figure 1 to 8 of the paper. RequestError for another number."""
    return chosen("figure", FIGURES, [number])[number](table)


def table(number: int, rows: Table) -> Made:
    """Make table 1, 2 or 6 to 9 of the paper. RequestError for another number."""
    return chosen("table", TABLES, [number])[number](rows)


def chosen(what: str, parts: Parts, numbers: Iterable[int] | None) -> Parts:
    """Pick the parts of these numbers, all of them for None. RequestError for a number that the paper does not have."""
    wanted = sorted(parts if numbers is None else set(numbers))
    for number in wanted:
        if number not in parts:
            raise RequestError(what, number, f"one of {', '.join(map(str, sorted(parts)))}")
    return {number: parts[number] for number in wanted}
