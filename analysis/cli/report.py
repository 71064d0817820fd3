"""Write the report and its figure: the part of ``farm report`` that needs the extra [analysis]."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis import figures, laws, validation
from analysis.cli.rows import Known
from analysis.report import grids, markdown
from analysis.table import Table
from farm.domain.errors import RequestError


def write(known: Known, out: Path, countries: Sequence[str] = ()) -> list[Path]:
    """The document at ``out`` and, where the default law can be fitted, its figure beside it; the paths written.

    Raises RequestError for an unknown country or a folder that cannot be written; nothing is left behind then.
    """
    grids(countries)
    drawn = []
    outcome = _best_known(known.table)
    if outcome is not None:
        drawn = figures.save(figures.actual_against_predicted(outcome), out.with_suffix(".png"))
    text = markdown(known.table, source=known.source, countries=countries, figure=drawn[0].name if drawn else None)
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError("out", str(out), f"a file that can be written ({error.strerror})") from None
    return [out, *drawn]


def _best_known(table: Table) -> validation.Validation | None:
    """The default law in the measured rows, or where there are none, in those of another origin."""
    for origin in ("measured", "estimated", "simulated"):
        rows = table.where(origin=origin)
        if (~rows.spoiled).any():
            return validation.in_sample(laws.get(laws.DEFAULT)(), rows)
    return None
