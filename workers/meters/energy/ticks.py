"""From readings of a counter that stands still between its ticks to what it said at which time.

A tick lies between the last reading of the old value and the first of the new one. Where two readings bracket it
closely, that is its time. Ticks come at a nearly constant period, so a straight line through the bracketed ones, where
it fits, is better than each of them alone.

What a difference of two readings is has a type: a normal tick, a counter that started again (reset), one that stood
still while power flowed (frozen).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np

from workers.meters.energy.cumulative import CumulativeEnergy
from workers.meters.energy.idle import Floats
from workers.meters.energy.period import coherent_period

CLOSE_PART: Final = 0.15  # of the tick: a bracket not wider than this is close
CLOSE_SECONDS: Final = 0.004  # and one of this width always is
CLOSE_QUANTILE: Final = 0.4
FEWEST_TICKS: Final = 5  # fewer are no base for a grid
GRID_PART: Final = 0.06  # of the tick: ticks that jitter less than this around a straight line are put on it
GRID_MARGIN_SIGMAS: Final = 4.0
GRID_MARGIN_SECONDS: Final = 0.0005
PERIOD_PART: Final = 0.06  # by so much the probe may have missed the period
PROJECTIONS: Final = 10
SLOW_PARTS: Final = 4.0  # a counter that moves once in so many readings has a tick
SHARPEST_SECONDS: Final = 0.0002  # no tick is known better: what asking takes, and who asks may be put aside meanwhile
FROZEN_TICKS: Final = 6  # a counter that misses so many ticks in a row is frozen
FROZEN_SECONDS: Final = 0.5  # and not before so long
IMPLAUSIBLE: Final = 2.0  # times the power limit: more energy than the board can have drawn


class Difference(Enum):
    """What lies between two readings of a counter."""

    FIRST = "first"  # nothing before it
    NORMAL = "normal"
    RESET = "reset"  # it went back, or leapt further than the board can draw
    FROZEN = "frozen"  # it stood still for many ticks


@dataclass(frozen=True, slots=True)
class Counter:
    """A counter's log in order. ``differences`` has one entry a level: how it differs from the one before."""

    levels: CumulativeEnergy
    differences: tuple[Difference, ...]
    still_since: float | None  # the counter has not moved since, to the end of the log; None: it moved as it should

    def has(self, difference: Difference, start: float, end: float) -> bool:
        """Whether such a difference lies between two times."""
        times = self.levels.times
        return any(
            each is difference and times[i - 1] < end and times[i] > start
            for i, each in enumerate(self.differences)
            if i > 0
        )


def counter_levels(
    readings: Sequence[tuple[float, float, float]],
    tick: float | None,
    *,
    limit_watts: float,
) -> Counter | None:
    """CumulativeEnergy from (asked, answered, joules); None where the counter moved less than twice.

    ``tick`` is the seconds between its updates as the probe found them, None where it found none.
    """
    if len(readings) < 3:
        return None
    asked, answered, joules = (np.array(column, dtype=np.float64) for column in zip(*readings, strict=True))
    moved = np.flatnonzero(np.diff(joules) != 0) + 1  # first readings of a new value
    if len(moved) < 2:
        return None
    spacing = float(np.median(np.diff(asked[moved])))
    if tick is None and spacing > SLOW_PARTS * float(np.median(np.diff(asked))):
        tick = spacing  # too slow for the probe to have seen it
    if tick is None:  # it follows the power without steps that matter: read exactly when asked
        times, std, chosen = (asked[moved] + answered[moved]) / 2, (answered - asked)[moved] / math.sqrt(12), moved
    else:
        times, std, chosen = _bracketed(asked, answered, moved, tick)
    levels = CumulativeEnergy(
        times=times, joules=joules[chosen], time_std=std, tick=tick or 0.0, quantum=_quantum(joules)
    )
    quiet = max(FROZEN_TICKS * (tick or spacing), FROZEN_SECONDS)
    # From the first reading of a value to its last: how long the counter was seen to stand still.
    stood = asked[np.append(moved[1:], len(joules)) - 1] - asked[moved]
    frozen_from = asked[moved[stood > quiet]]
    differences = _differences(levels, frozen_from, limit_watts)
    return Counter(levels, differences, still_since=float(asked[moved[-1]]) if stood[-1] > quiet else None)


def _bracketed(asked: Floats, answered: Floats, moved: np.ndarray, tick: float) -> tuple[Floats, Floats, np.ndarray]:
    """Times of levels, their standard uncertainties, and the readings they are of."""
    low, high = asked[moved - 1], answered[moved]
    width = high - low
    middle = (low + high) / 2
    fair = width <= max(CLOSE_PART * tick, CLOSE_SECONDS, float(np.quantile(width, CLOSE_QUANTILE)))
    if (width <= tick).sum() < 3:
        # Only wide ones: the value is of the last tick before the reading, which may be up to a tick back.
        back = np.minimum(width, tick)
        return high - back / 2, back / math.sqrt(12), moved
    narrow = width <= tick / 2
    grid = _grid(low[narrow], high[narrow], tick)
    if grid is None:
        return middle[fair], width[fair] / math.sqrt(12), moved[fair]
    # A bracket narrower than half a tick holds one tick, the nearest. A busy host reads late: a value from a wider one
    # is of the last tick before it was asked for, unless that was too near the next.
    number = np.where(narrow, grid.nearest(middle), grid.before(asked[moved]))
    line, error = grid.line(number), np.hypot(grid.jitter, grid.error(number))
    margin = np.maximum(GRID_MARGIN_SIGMAS * error, GRID_MARGIN_SECONDS)
    inside = (line > low - margin) & (line < high + margin)
    clear = (asked[moved] - line > margin) & (line + grid.period - high > margin)
    # Far from what the line was drawn through it says little.
    known = inside & (narrow | clear) & (error < np.where(narrow, width / math.sqrt(12), GRID_PART * tick / 2))
    chosen = np.flatnonzero(known | (fair & narrow))
    tick_times = np.where(known, np.clip(line, low, high), middle)[chosen]
    std = np.where(known, np.maximum(error, SHARPEST_SECONDS), width / math.sqrt(12))[chosen]
    later = np.diff(np.maximum.accumulate(tick_times), prepend=-np.inf) > grid.period / 2
    return tick_times[later], std[later], moved[chosen[later]]


@dataclass(frozen=True, slots=True)
class _Grid:
    """Ticks of constant period."""

    start: float
    period: float
    jitter: float  # how far outside their brackets it passes, root mean square, seconds
    middle: float  # number of the tick in the middle of what it was drawn through
    shift_std: float  # standard uncertainty there, seconds
    tilt_std: float  # and of the period

    def error(self, number: Floats) -> Floats:
        """Standard uncertainty of a tick's time."""
        return np.sqrt(self.jitter**2 + self.shift_std**2 + (self.tilt_std * (number - self.middle)) ** 2)

    def line(self, number: Floats) -> Floats:
        return self.start + self.period * number

    def nearest(self, time: Floats) -> Floats:
        return np.round((time - self.start) / self.period)

    def before(self, time: Floats) -> Floats:
        return np.floor((time - self.start) / self.period)


def _grid(low: Floats, high: Floats, tick: float) -> _Grid | None:
    """The line of constant period that passes through the brackets; None where there is none. Narrow ones weigh more.

    First through their middles. Of a bracket that was closed late only its width is to blame, not the tick: then, again
    and again, through the point of each bracket that is nearest to the line. Where that leaves no jitter, in the middle
    of all lines that pass through every bracket: a busy host errs to one side, which no mean of middles would show.
    """
    if len(low) < FEWEST_TICKS:
        return None
    times, width = (low + high) / 2, high - low
    period = coherent_period(low, high, tick, within=PERIOD_PART)
    number = np.round((times - times[int(np.argmin(width))]) / period)
    if np.any(np.diff(number) < 1):
        return None
    weight = 1 / np.maximum(width, float(np.quantile(width, CLOSE_QUANTILE)))
    line = times
    for _ in range(1 + PROJECTIONS):
        period, start = np.polyfit(number, np.clip(line, low, high), 1, w=weight)
        line = start + period * number
    outside = np.maximum(0.0, np.maximum(low - line, line - high))
    jitter = math.sqrt(float(np.mean(outside**2)))
    if jitter > GRID_PART * tick:
        return None
    scatter = math.sqrt(float(np.average((times - line) ** 2, weights=weight**2)))
    away = number - number.mean()
    shift, tilt = scatter / math.sqrt(len(times)), scatter / math.sqrt(float(away @ away))
    if jitter < SHARPEST_SECONDS:
        slack = float(outside.max())
        line, shift_range, tilt_range = _centred(line, low - slack, high + slack, away)
        period, start = np.polyfit(number, line, 1)
        shift, tilt = math.hypot(shift, shift_range / math.sqrt(12)), math.hypot(tilt, tilt_range / math.sqrt(12))
    return _Grid(float(start), float(period), jitter, float(number.mean()), shift, tilt)


def _centred(line: Floats, low: Floats, high: Floats, away: Floats) -> tuple[Floats, float, float]:
    """A line through all brackets moved to the middle of those that there are; how far it can be shifted, and tilted.

    ``away`` counts ticks from the middle one.
    """
    arm = away != 0
    forward = away[arm] > 0
    for _ in range(PROJECTIONS):
        line = line + ((low - line).max() + (high - line).min()) / 2
        sides = np.stack([(low - line)[arm], (high - line)[arm]]) / away[arm]
        least, most = np.where(forward, sides[0], sides[1]).max(), np.where(forward, sides[1], sides[0]).min()
        line = line + (least + most) / 2 * away
    return line, float((high - line).min() - (low - line).max()), float(most - least)


def _quantum(joules: Floats) -> float:
    """The step that all differences are multiples of, in joules."""
    steps = np.unique(np.round(1000 * np.abs(np.diff(joules))).astype(np.int64))
    return float(np.gcd.reduce(steps)) / 1000


def _differences(levels: CumulativeEnergy, frozen_from: Floats, limit_watts: float) -> tuple[Difference, ...]:
    seconds, steps = np.diff(levels.times), np.diff(levels.joules)
    reset = (steps < 0) | (steps > IMPLAUSIBLE * limit_watts * (seconds + levels.tick))
    begun = np.searchsorted(frozen_from, levels.times[:-1] - levels.tick)
    frozen = np.searchsorted(frozen_from, levels.times[1:]) > begun
    differences = (
        Difference.RESET if back else Difference.FROZEN if still else Difference.NORMAL
        for back, still in zip(reset.tolist(), frozen.tolist(), strict=True)
    )
    return (Difference.FIRST, *differences)
