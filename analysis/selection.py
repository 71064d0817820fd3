"""What a measurement would teach: rows are picked one by one, each for what it lessens of the error on all.

Errors of ln E are taken as jointly normal with the covariance that the law ``work`` states. A run of row j would lessen
the variance of row i by K_ij^2 / (K_jj + s_j^2). Rows are picked one by one, each the largest sum of such gains over
all candidates (I-optimality) by its expected energy to a power below one, and K is conditioned on each pick. No energy
of a candidate is looked at, and what a pick will show does not matter to K. Such gains are nearly submodular, so that
greed comes close to the best choice: Krause, Singh and Guestrin, JMLR 9 (2008); cost: Krause and Guestrin (2005).

The error to expect of a row is the mean absolute value of the t that its interval is of, with as many degrees of
freedom as the law will have once the picks are measured: spreads that few rows told are not taken as known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from analysis.laws import student
from analysis.laws.work.effects import SHAPE_COLUMNS
from analysis.laws.work.hierarchy import GROUP_ROWS
from analysis.laws.work.law import WorkLaw
from analysis.laws.work.outlook import Outlook
from analysis.table import Floats, Integers, Table
from farm.domain import Configuration

COST_EXPONENT: Final = 0.25  # 0 would not mind the energy; 1 would pick many cheap rows alike
MAX_CANDIDATES: Final = 3000  # K of as many rows takes 72 MB
BUT_PROMPTS: Final = (*SHAPE_COLUMNS, "steps")  # rows that agree in these differ in the number of prompts alone
WITH_PROMPTS: Final = (*BUT_PROMPTS, "prompts")


@dataclass(frozen=True, slots=True)
class Candidates:
    """Rows to choose from, of which each stands for all that differ in the number of prompts alone, and what a law
    expects of them.

    Attributes:
        rows: of rows that are alike and not measured, the one with the fewest prompts, (n,).
        place: where each is among all rows, (n,).
        weight: how many rows that are not measured each stands for, (n,).
        free: whether it may be picked: none that is alike is measured or barred, (n,).
        count: how many may be picked; more than ``free`` says where there are over MAX_CANDIDATES.
        energy_joules: expected of all that may be picked, together.
        alike_by: the columns in which alike rows agree.
    """

    rows: Table
    place: Integers
    weight: Floats
    free: NDArray[np.bool_]
    outlook: Outlook
    count: int
    energy_joules: float
    alike_by: tuple[str, ...]

    @classmethod
    def of(
        cls,
        law: WorkLaw,
        rows: Table,
        measured: Table,
        *,
        barred: Sequence[Configuration] = (),
        alike_by: tuple[str, ...] = BUT_PROMPTS,
        most: int = MAX_CANDIDATES,
    ) -> Self:
        """Make candidates of these rows less those among the measured ones.

        Args:
            law: fitted; it says what is expected of them.
            rows, measured: configurations that may be measured, and those that were.
            barred: configurations that are not to be picked, nor any that is alike.
            alike_by: the columns in which alike rows agree.
            most: of more rows that differ, so many drawn ones stand for all.
        """
        known, barred_keys = set(_keys(measured, WITH_PROMPTS)), set(_keys(measured, alike_by))
        if barred:
            barred_keys |= set(_keys(Table.of(list(barred)), alike_by))
        best: dict[tuple[Any, ...], int] = {}
        weight: dict[tuple[Any, ...], int] = {}
        prompts = rows.prompts.tolist()
        for place, (key, each) in enumerate(zip(_keys(rows, alike_by), _keys(rows, WITH_PROMPTS), strict=True)):
            if each not in known:
                weight[key] = weight.get(key, 0) + 1
                if key not in best or prompts[place] < prompts[best[key]]:
                    best[key] = place
        order = sorted(best, key=best.__getitem__)
        free = np.array([key not in barred_keys for key in order], dtype=np.bool_)
        weights = np.array([weight[key] for key in order], dtype=np.float64)
        places = np.array([best[key] for key in order], dtype=np.int64)
        distinct = rows.take(places)
        count = int(free.sum())
        if len(distinct) <= most:
            outlook = law.outlook(distinct)
            energy = float(outlook.forecast.joules[free].sum())
            return cls(distinct, places, weights, free, outlook, count, energy, alike_by)
        energy = float(law.predict(distinct)[free].sum())
        kept = np.sort(np.random.default_rng(0).permutation(len(distinct))[:most])
        distinct = distinct.take(kept)
        return cls(distinct, places[kept], weights[kept], free[kept], law.outlook(distinct), count, energy, alike_by)

    @property
    def joules(self) -> Floats:
        return self.outlook.forecast.joules

    @property
    def seconds(self) -> Floats:
        return np.asarray(self.outlook.forecast.seconds)

    def selection(self, **limits: Any) -> Selection:
        """Nothing picked yet; keywords as of :class:`Selection`."""
        return Selection(self, **limits)

    def places(self, rows: Table) -> Integers:
        """Find the candidates that are alike to these rows, (k,), each once."""
        places = {key: place for place, key in enumerate(_keys(self.rows, self.alike_by))}
        return np.array(sorted({places[key] for key in _keys(rows, self.alike_by) if key in places}), dtype=np.int64)


class Selection:
    """Rows picked so far, and what is expected once they are measured.

    Args:
        candidates: what there is to choose from.
        joules, seconds: what all picks may take together, which nothing goes over.
        allowance: joules beyond which picks wait until nothing else is left; the cheapest go on then, since so many
            were asked for.
        exponent: of the energy that a pick's worth is divided by.
    """

    def __init__(
        self,
        candidates: Candidates,
        *,
        joules: float | None = None,
        seconds: float | None = None,
        allowance: float = np.inf,
        exponent: float = COST_EXPONENT,
    ) -> None:
        self.candidates = candidates
        self.picks: list[int] = []
        self._remaining = candidates.outlook.covariance.copy()
        self._free = candidates.free.copy()
        self._weight = candidates.weight.copy()
        self._rows = candidates.outlook.rows_of_model.copy()
        self._gpu, self._model = (np.asarray(getattr(candidates.rows, name)) for name in ("gpu", "model"))
        self._caps = [
            (amount, cap)
            for amount, cap in ((candidates.joules, joules), (candidates.seconds, seconds))
            if cap is not None
        ]
        self._allowance, self._exponent = allowance, exponent

    def assume(self, places: Integers) -> None:
        """Take rows as measured that are on their way: they are not picked, and cost nothing more."""
        for place in places.tolist():
            self._condition(place)

    def pick(
        self,
        count: int,
        slots: Mapping[str, int] | None = None,
        *,
        blindly: np.random.Generator | None = None,
    ) -> None:
        """Pick up to so many more.

        Args:
            count: at most so many.
            slots: no more on a GPU type than it has of them; one on a type that is not named.
            blindly: draws picks instead of weighing them: what they show is what the rest would show.
        """
        open_slots = {} if slots is None else {gpu: slots.get(gpu, 1) for gpu in np.unique(self._gpu).tolist()}
        cost = self.candidates.joules
        for _ in range(count):
            for amount, cap in self._caps:
                self._free &= amount[self.picks].sum() + amount <= cap
            full = [gpu for gpu, count_open in open_slots.items() if count_open < 1]
            open_now = self._free & ~np.isin(self._gpu, full)
            if not open_now.any():
                break
            worth = self._worth() if blindly is None else blindly.random(len(cost))
            affordable = open_now & (cost[self.picks].sum() + cost <= self._allowance)
            value = worth if affordable.any() else -cost
            best = int(np.argmax(np.where(affordable if affordable.any() else open_now, value, -np.inf)))
            self.picks.append(best)
            self._condition(best)
            if open_slots:
                open_slots[str(self._gpu[best])] -= 1

    def _worth(self) -> Floats:
        """What each row would lessen of the variance of all, by its energy."""
        gain = self._weight @ self._remaining**2
        worth = gain / (np.diag(self._remaining) + self.candidates.outlook.noise)
        return np.asarray(worth / self.candidates.joules**self._exponent)

    def _condition(self, place: int) -> None:
        column = self._remaining[:, place].copy()
        self._remaining -= np.outer(column, column) / (column[place] + self.candidates.outlook.noise[place])
        self._free[place] = False
        self._weight[place] -= 1
        self._rows[self._model == self._model[place]] += 1

    @property
    def expected_error_percent(self) -> float:
        """Mean over the rows that are neither measured nor picked; over all where nothing else is left."""
        out = self.candidates.outlook
        degrees = np.where(self._rows > 0, GROUP_ROWS + self._rows, out.degrees)
        error = student.mean_absolute(degrees) * np.sqrt(np.maximum(np.diag(self._remaining), 0.0) + out.noise)
        weight = self._weight if self._weight.any() else np.ones_like(self._weight)
        return float(100 * (weight @ error) / weight.sum())


def _keys(table: Table, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    values = (np.asarray(getattr(table, name)).tolist() for name in columns)
    return list(zip(*values, strict=True))
