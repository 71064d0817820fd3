"""The law's prediction beside what was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from farm.domain import Configuration
from farm.domain.errors import FarmError
from farm.web.site import Site

if TYPE_CHECKING:
    from analysis.predictions import Prediction, Predictions
    from farm.web.knowledge import Known

OUTSIDE: Final = 0.99  # a measured row that lies outside the interval of this level is an outlier
KEPT: Final = 4_000  # intervals of a law: the pages of a list that are looked at


@dataclass(frozen=True, slots=True)
class Interval:
    """Joules of a configuration, all images together, by the law; a measured row outside is an outlier."""

    value: float
    low: float
    high: float


UNASKED: Final = Interval(math.nan, math.nan, math.nan)


def predictions(site: Site, configurations: Sequence[Configuration]) -> list[Prediction | None]:
    """What the law says of each; None for one that it cannot answer, and of all while it is not fitted."""
    found: list[Prediction | None] = [None] * len(configurations)
    if (known := _known(site)) is not None and configurations:
        places, answers = _answers(known, configurations)
        for place, prediction in zip(places, answers or (), strict=True):
            found[place] = prediction
    return found


def intervals(site: Site, configurations: Sequence[Configuration]) -> list[Interval | None]:
    """How far each may be from what the law says; None as in ``predictions``. Asked of the law once while it stays."""
    if (known := _known(site)) is None:
        return [None] * len(configurations)
    kept = known.intervals
    found = {each: kept.get(each, UNASKED) for each in configurations}  # others ask at the same time
    news = _intervals(known, [each for each, interval in found.items() if interval is UNASKED])
    if len(kept) + len(news) > KEPT:
        kept.clear()
    kept.update(news)
    found |= news
    return [found[each] for each in configurations]


def _intervals(known: Known, configurations: Sequence[Configuration]) -> dict[Configuration, Interval | None]:
    found: dict[Configuration, Interval | None] = dict.fromkeys(configurations)
    if not configurations:
        return found
    places, answers = _answers(known, configurations, OUTSIDE)
    if answers is not None:
        energy = answers.energy
        columns = (energy.value.tolist(), energy.low.tolist(), energy.high.tolist())
        for place, value, low, high in zip(places, *columns, strict=True):
            found[configurations[place]] = Interval(value, low, high)
    return found


def _known(site: Site) -> Known | None:
    """The law, where one is fitted."""
    try:
        return site.knowledge.known(wait=0)
    except FarmError:  # no law can be fitted here, or to these rows: said where somebody asks for a prediction
        return None


def _answers(
    known: Known, configurations: Sequence[Configuration], level: float | None = None
) -> tuple[list[int], Predictions | None]:
    """The places of those that the law can answer, and its answers."""
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
