"""Predictions of many configurations, kept for the pages that show them beside measured rows.

Those of the rows that a law rests on are made once a fit, all at once, behind the pages; others when they are first
shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from farm.domain import Configuration
from farm.domain.errors import FarmError

if TYPE_CHECKING:
    from analysis.predictions import Estimate, Prediction, Predictions
    from farm.web.knowledge import Known
    from farm.web.site import Site

OUTSIDE: Final = 0.99  # a measured row that lies outside the interval of this level is an outlier
ROWS: Final = 100_000  # that are asked about behind, at most
KEPT: Final = 4_000  # of configurations that the law does not rest on: the pages of a list that are looked at


@dataclass(frozen=True, slots=True)
class Predicted:
    """What the law predicts of one configuration: its place among answers that were worked out together."""

    answers: Predictions
    outside: Estimate  # joules of all images together, at the level OUTSIDE
    place: int

    @property
    def prediction(self) -> Prediction:
        """With its interval at the usual level, phases, seconds."""
        return self.answers[self.place]

    @property
    def joules(self) -> float:
        """Of all images together."""
        return float(self.outside.value[self.place])

    def allows(self, joules: float) -> bool:
        """Whether a measured energy of all images together lies within what is to be expected."""
        return bool(self.outside.low[self.place] <= joules <= self.outside.high[self.place])


Answers = dict[Configuration, Predicted | None]  # None: the law cannot answer


def predicted(site: Site, configurations: Sequence[Configuration]) -> list[Predicted | None]:
    """Predicts each with the law in use; None for one that it cannot answer, and for all while it is not fitted."""
    try:
        known = site.knowledge.known(wait=0)
    except FarmError:  # no law can be fitted here, or to these rows: said where somebody asks for a prediction
        known = None
    return [None] * len(configurations) if known is None else predicted_by(known, configurations)


def predicted_by(known: Known, configurations: Sequence[Configuration]) -> list[Predicted | None]:
    """Predicts each with a law that is fitted, which is asked once for each configuration."""
    of_its_rows = known.derived(of_rows, of_rows, wait=0) or {}
    others = known.others
    answers: Answers = {}
    for each in configurations:
        kept = of_its_rows if each in of_its_rows else others
        with suppress(KeyError):  # another thread may make room meanwhile
            answers[each] = kept[each]
    news = _asked(known, [each for each in dict.fromkeys(configurations) if each not in answers])
    if len(others) + len(news) > KEPT:
        others.clear()
    others.update(news)
    answers |= news
    return [answers[each] for each in configurations]


def of_rows(known: Known) -> Answers:
    """Predicts the rows that a law rests on, the newest where they are very many."""
    return _asked(known, list(dict.fromkeys(known.rows.take(slice(-ROWS, None)).configurations())))


def _asked(known: Known, configurations: Sequence[Configuration]) -> Answers:
    predictions: Answers = dict.fromkeys(configurations)
    if not predictions:
        return predictions
    from analysis.prediction import answer, refusals
    from analysis.table import Table

    table = Table.from_rows(configurations)
    refused = refusals(table)
    places = [place for place in range(len(configurations)) if place not in refused]
    if places:
        fitted = known.fitted
        asked = table.take(places)
        answers = answer(fitted.law, asked, source=fitted.source, fit_id=fitted.fit_id)
        outside = answer(fitted.law, asked, level=OUTSIDE).energy
        predictions |= {configurations[place]: Predicted(answers, outside, at) for at, place in enumerate(places)}
    return predictions
