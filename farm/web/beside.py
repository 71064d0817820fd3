"""The law's prediction beside what was measured.

What the law says of the rows that it rests on is asked of it once a fit, all at once, behind; of others when they are
first shown.
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
class Said:
    """What the law says of one configuration: its place among answers that were worked out together."""

    answers: Predictions
    outside: Estimate  # joules of all images together, at the level OUTSIDE
    place: int

    @property
    def prediction(self) -> Prediction:
        return self.answers[self.place]

    @property
    def joules(self) -> float:
        """Of all images together."""
        return float(self.outside.value[self.place])

    def allows(self, joules: float) -> bool:
        """Whether a measured energy of all images together lies within what is to be expected."""
        return bool(self.outside.low[self.place] <= joules <= self.outside.high[self.place])


Answers = dict[Configuration, Said | None]  # None: the law cannot answer


def said(site: Site, configurations: Sequence[Configuration]) -> list[Said | None]:
    """What the law says of each; None for one that it cannot answer, and of all while it is not fitted."""
    try:
        known = site.knowledge.known(wait=0)
    except FarmError:  # no law can be fitted here, or to these rows: said where somebody asks for a prediction
        known = None
    return [None] * len(configurations) if known is None else said_by(known, configurations)


def said_by(known: Known, configurations: Sequence[Configuration]) -> list[Said | None]:
    """The same of a law that is fitted, which is asked once for each configuration."""
    of_its_rows = known.derived(of_rows, of_rows, wait=0) or {}
    others = known.others
    found: Answers = {}
    for each in configurations:
        kept = of_its_rows if each in of_its_rows else others
        with suppress(KeyError):  # somebody else may make room meanwhile
            found[each] = kept[each]
    news = _asked(known, [each for each in dict.fromkeys(configurations) if each not in found])
    if len(others) + len(news) > KEPT:
        others.clear()
    others.update(news)
    found |= news
    return [found[each] for each in configurations]


def of_rows(known: Known) -> Answers:
    """What a law says of the rows that it rests on, the newest where they are very many."""
    return _asked(known, list(dict.fromkeys(known.rows.take(slice(-ROWS, None)).configurations())))


def _asked(known: Known, configurations: Sequence[Configuration]) -> Answers:
    found: Answers = dict.fromkeys(configurations)
    if not found:
        return found
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
        found |= {configurations[place]: Said(answers, outside, at) for at, place in enumerate(places)}
    return found
