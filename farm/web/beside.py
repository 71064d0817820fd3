"""The law's prediction beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from farm.domain import Configuration
from farm.domain.errors import FarmError
from farm.web.site import Site

if TYPE_CHECKING:
    from analysis.predictions import Prediction

OUTSIDE: Final = 0.99  # a measured row that lies outside the interval of this level is an outlier


def predictions(
    site: Site, configurations: Sequence[Configuration], *, level: float | None = None
) -> list[Prediction | None]:
    """What the law says of each; None for one that it cannot answer, and of all while it is not fitted."""
    nothing: list[Prediction | None] = [None] * len(configurations)
    try:
        known = site.knowledge.known(wait=0)
    except FarmError:  # no law can be fitted here, or to these rows: said where somebody asks for a prediction
        return nothing
    if known is None or not configurations:
        return nothing
    from analysis.laws.base import LEVEL
    from analysis.prediction import answer, refusals
    from analysis.table import Table

    table = Table.from_rows(list(configurations))
    refused = refusals(table)
    places = [place for place in range(len(configurations)) if place not in refused]
    if not places:
        return nothing
    fitted = known.fitted
    answers = answer(fitted.law, table.take(places), level=level or LEVEL, source=fitted.source, fit_id=fitted.fit_id)
    for place, prediction in zip(places, answers, strict=True):
        nothing[place] = prediction
    return nothing
