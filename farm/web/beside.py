"""The law's prediction beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from farm.domain import Configuration
from farm.domain.errors import FarmError
from farm.web.site import Site

if TYPE_CHECKING:
    from analysis.predictions import Prediction, Predictions

OUTSIDE: Final = 0.99  # a measured row that lies outside the interval of this level is an outlier


@dataclass(frozen=True, slots=True)
class Interval:
    """Joules of a configuration, all images together, by the law; a measured row outside is an outlier."""

    value: float
    low: float
    high: float


def predictions(site: Site, configurations: Sequence[Configuration]) -> list[Prediction | None]:
    """What the law says of each; None for one that it cannot answer, and of all while it is not fitted."""
    places, answers = _answers(site, configurations)
    found: list[Prediction | None] = [None] * len(configurations)
    for place, prediction in zip(places, answers or (), strict=True):
        found[place] = prediction
    return found


def intervals(site: Site, configurations: Sequence[Configuration]) -> list[Interval | None]:
    """How far each may be from what the law says; None as in ``predictions``."""
    places, answers = _answers(site, configurations, OUTSIDE)
    found: list[Interval | None] = [None] * len(configurations)
    if answers is not None:
        energy = answers.energy
        columns = (energy.value.tolist(), energy.low.tolist(), energy.high.tolist())
        for place, value, low, high in zip(places, *columns, strict=True):
            found[place] = Interval(value, low, high)
    return found


def _answers(
    site: Site, configurations: Sequence[Configuration], level: float | None = None
) -> tuple[list[int], Predictions | None]:
    """The places of those that the law can answer, and its answers."""
    try:
        known = site.knowledge.known(wait=0)
    except FarmError:  # no law can be fitted here, or to these rows: said where somebody asks for a prediction
        return [], None
    if known is None or not configurations:
        return [], None
    from analysis.laws.base import LEVEL
    from analysis.prediction import answer, refusals
    from analysis.table import Table

    table = Table.from_rows(list(configurations))
    refused = refusals(table)
    places = [place for place in range(len(configurations)) if place not in refused]
    if not places:
        return [], None
    fitted = known.fitted
    return places, answer(
        fitted.law, table.take(places), level=level or LEVEL, source=fitted.source, fit_id=fitted.fit_id
    )
