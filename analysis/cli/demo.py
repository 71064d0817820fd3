"""The part of ``farm demo`` that needs the extra [analysis]: refit what was measured, then say how well it went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis import laws, records, validation
from analysis.cli.fits import fitted_law
from analysis.cli.report import write
from analysis.cli.rows import known_rows
from analysis.refit import refit_if_new
from farm.settings import Settings


def refit(settings: Settings) -> tuple[dict[str, Any], float]:
    """Refit as the coordinator does; the default law's fit as `farm law fit --json` has it, and the scatter about it in
    percent (standard deviation of ln E)."""
    refit_if_new(settings)
    table = known_rows(None, (), None).table.where(origin="estimated")
    law = fitted_law(laws.DEFAULT, None, ["origin=estimated"], None).law
    return records.report(law, table), validation.in_sample(laws.get(laws.DEFAULT)(), table).scatter_percent


def report(out: Path) -> Path:
    """Write the report of everything known; its path."""
    return write(known_rows(None, (), None), out)[0]
