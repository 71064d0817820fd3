"""What a table of measured rows says to the law ``work``: logarithms of energies and of seconds, and who shares what.

A row says an energy, or seconds, or both: seconds are an observation with noise, and a deviation of its shape, of their
own. Rows of one configuration are worked out once. Where idle power is in an energy, the measured seconds at the
laboratory's idle watts are added to what physics says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from analysis.laws.rows import LeftOut
from analysis.laws.work import hierarchy, physics
from analysis.laws.work.blocks import Blocks, Groups
from analysis.laws.work.demand import Demand, clocks, demand
from analysis.laws.work.effects import IDLE, LEVEL, LOCAL, SHAPE_COLUMNS, Effects, N, Sets
from analysis.laws.work.hierarchy import Layout
from analysis.laws.work.known import Known
from analysis.laws.work.laboratories import Days, Idles, included_watts
from analysis.table import Floats, Integers, Table
from farm import catalog

# Seconds that differ from what is expected beforehand by more are not of one pass over all prompts: left out.
FARTHEST_SECONDS: Final = 8.0


@dataclass(frozen=True, slots=True)
class Observed:
    """The observations y (n,), logarithms of the energies of rows, then of the seconds of rows, and the model of
    them; ``extra_variance`` and ``weight`` (n,) of each."""

    model: hierarchy.Model
    y: Floats
    layout: Layout
    extra_variance: Floats
    weight: Floats
    known: Known
    idles: Idles
    days: Days
    left_out: LeftOut

    @classmethod
    def of(cls, table: Table, energy_joules: Floats, weight: Floats | None, effects: Effects) -> Self:
        days, stated = Days.of(table), np.flatnonzero(np.isfinite(energy_joules))
        first, alike = _configurations(table, days.cudnn(table))
        distinct = table.take(first)
        shapes_of_calls, shape = distinct.groups(*SHAPE_COLUMNS, "dataset")
        physical = _Physics.of(distinct, (shapes_of_calls, shape), days, effects)
        expected = physical.prior_seconds()[alike]
        timed, left_out = _timed(table, expected)
        has_time = np.unique(alike[timed])  # configurations
        place_of_time = np.full(len(distinct), -1, dtype=np.int64)
        place_of_time[has_time] = len(distinct) + np.arange(len(has_time))
        rows = distinct.take(shapes_of_calls)
        timed_shapes, timed_shape = np.unique(shape[has_time], return_inverse=True)
        known, layout = Known.of(
            rows,
            distinct,
            np.concatenate([alike[stated], place_of_time[alike[timed]]]),
            (shape, timed_shape),
            timed_shapes,
            has_time,
        )
        idles = Idles.of(table)
        seconds = np.where(table.duration_seconds > 0, table.duration_seconds, expected)
        above = np.maximum(energy_joules + idles.beyond_catalog(table) * seconds, 0.05 * energy_joules)
        weight = np.ones(len(table)) if weight is None else weight / weight.mean()
        run_variance = np.nan_to_num(table.energy_std_joules / energy_joules, nan=0.0) ** 2
        return cls(
            model=physical.model(has_time),
            y=np.log(np.concatenate([above[stated], table.duration_seconds[timed]])),
            layout=layout,
            extra_variance=np.concatenate([run_variance[stated], np.zeros(len(timed))]),
            weight=np.concatenate([weight[stated], weight[timed]]),
            known=known,
            idles=idles,
            days=days,
            left_out=left_out,
        )


@dataclass(frozen=True, slots=True)
class _Physics:
    """The energies and seconds of m configurations as a function of the effects."""

    demand: Demand
    sets: Sets
    set_of_row: Integers
    idle_joules: Floats  # at the catalog's watts over the measured seconds; 0 where idle is not in the energy

    @classmethod
    def of(cls, distinct: Table, groups: tuple[Integers, Integers], days: Days, effects: Effects) -> Self:
        sets, set_of_row = effects.sets(distinct)
        seconds = np.where(distinct.includes_idle, np.nan_to_num(distinct.duration_seconds), 0.0)
        needed = demand(distinct, groups, days.cudnn(distinct))
        return cls(needed, sets, set_of_row, included_watts(distinct) * seconds)

    def prior_seconds(self) -> Floats:
        """Seconds (m,) by the priors alone."""
        response = physics.respond(self.demand, np.zeros((len(self.set_of_row), N)))
        seconds, _ = response.seconds(response.joules.sum(axis=1))
        return seconds

    def model(self, has_time: Integers) -> hierarchy.Model:
        """ln E of all configurations, then ln t of those that have measured seconds, by the effects."""
        groups = Groups.of(self.sets.basis, np.concatenate([self.set_of_row, self.set_of_row[has_time]]))

        def of(p: Floats) -> tuple[Floats, hierarchy.Jacobian]:
            numbers = self.sets.basis.numbers(p)[self.set_of_row]
            response = physics.respond(self.demand, numbers[:, :N])
            joules = response.joules.sum(axis=1) * np.exp(numbers[:, LEVEL])
            idle = self.idle_joules * np.exp(numbers[:, IDLE])
            seconds, by_work = response.seconds(joules)

            def jacobian() -> Blocks:
                share = (joules / (joules + idle))[:, None]
                local = share * of_energy(response.slope)
                local[:, [IDLE]] = 1 - share
                timed = of_seconds(response, by_work)[has_time]
                return Blocks(np.concatenate([local, timed]), groups)

            return np.log(np.concatenate([joules + idle, seconds[has_time]])), jacobian

        return of


def of_energy(slope: Floats) -> Floats:
    """Derivatives (n, 11) of ln E by the numbers of LOCAL; ``slope`` (n, 9): by the coefficients."""
    local = np.zeros((len(slope), len(LOCAL)))
    local[:, :N] = slope
    local[:, LEVEL] = 1.0
    return local


def of_seconds(response: physics.Response, by_work: Floats) -> Floats:
    """Derivatives (n, 11) of ln t by the numbers of LOCAL; ``by_work`` (n,): the part that follows the work."""
    local = (1 - by_work)[:, None] * of_energy(response.slope)
    local[:, :N] += by_work[:, None] * response.work_slope
    return local


def _configurations(table: Table, cudnn: NDArray[np.bool_]) -> tuple[Integers, Integers]:
    """Rows that physics cannot tell apart: a row of each, and the configuration of every row. Rows with idle
    power in their energy are alike where that is the same."""
    first, alike = table.groups(*SHAPE_COLUMNS, "dataset", "steps", "prompts")
    limits, limit = np.unique(np.nan_to_num(table.power_limit_watts), return_inverse=True)
    if cudnn.any():
        limits, limit = np.unique(2 * limit + cudnn, return_inverse=True)
    if ((clock := clocks(table)) < 1).any():
        clocks_held, of_row = np.unique(clock, return_inverse=True)
        limits, limit = np.unique(len(clocks_held) * limit + of_row, return_inverse=True)
    idle_joules = included_watts(table) * np.nan_to_num(table.duration_seconds)
    idles, of_idle = np.unique(np.where(table.includes_idle, idle_joules, -1.0), return_inverse=True)
    if len(limits) <= 1 and len(idles) <= 1:
        return first, alike
    code = (alike * len(limits) + limit) * len(idles) + of_idle
    _, first, alike = np.unique(code, return_index=True, return_inverse=True)
    return first, alike


def _timed(table: Table, expected: Floats) -> tuple[Integers, LeftOut]:
    """Rows whose seconds are used, (k,), and what is left out; ``expected`` (n,): seconds by the priors."""
    stated = table.duration_seconds > 0
    guessed = np.isin(table.gpu, [name for name in table.names("gpu") if catalog.gpu(name).is_processor])
    ratio = np.abs(np.log(np.where(stated, table.duration_seconds, expected) / expected))
    far = stated & ~guessed & (ratio > np.log(FARTHEST_SECONDS))
    why = f"{FARTHEST_SECONDS:g} times or an eighth of what the work takes: not of one pass over all prompts"
    entry = {"what": "seconds", "name": "duration_seconds", "why": why, "count": int(far.sum())}
    left_out: LeftOut = [{**entry, "numbers": table.number[far].tolist()}] if far.any() else []
    return np.flatnonzero(stated & ~far), left_out
