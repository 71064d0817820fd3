"""From a log of power to cumulative energy: the cross-check of a counter, and the fallback where there is none.

Instantaneous power is integrated by the trapezium rule. A moving average over ``window`` seconds, as most boards since
Ampere give, is the difference of the energy over that window: E(t) = E(t - window) + window * mean(t). Beginning in a
stretch of constant (idle) power, that recursion gives the energy back; smeared edges and a missing tail with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from workers.meters.base import Span
from workers.meters.energy.cumulative import CumulativeEnergy
from workers.meters.energy.idle import Floats
from workers.meters.energy.latency import seconds_by_label

GRID_SECONDS: Final = 0.05
INSTANT_SECONDS: Final = 0.02  # a reading "of the present" covers about so much
DELAYS_SECONDS: Final = (0.0, 0.03, 0.06, 0.1, 0.15)
TELLING: Final = 0.7  # the better fit must leave less than this part of the other's residual
FEWEST_READINGS: Final = 8  # fewer cannot tell an average


def power_levels(power: Sequence[tuple[float, float]], *, window: float = 0.0) -> CumulativeEnergy | None:
    """Cumulative energy at the time of each reading (window 0) or on a grid; None below three times of readings."""
    times, watts = np.array(power, dtype=np.float64).reshape(-1, 2).T
    rising = np.diff(times, prepend=-math.inf) > 0
    times, watts = times[rising], watts[rising]
    if len(times) < 3:
        return None
    spacing = float(np.median(np.diff(times)))
    if window > 0:
        times, joules = _deconvolved(times, watts, window)
    else:
        joules = np.concatenate([[0.0], np.cumsum((watts[1:] + watts[:-1]) / 2 * np.diff(times))])
    spread = np.full(len(times), spacing / math.sqrt(12))
    return CumulativeEnergy(times=times, joules=joules, time_std=spread, tick=spacing, unseen=spacing)


def averages(power: Sequence[tuple[float, float]], spans: Sequence[Span], window: float) -> bool | None:
    """Whether a log follows the work as a moving average rather than at once; None where there is nothing to follow.

    Which of the two nvmlDeviceGetPowerUsage is depends on board and driver, so the log is asked itself: the powers of
    the labels, as they are or averaged over the window, are fitted to it at a few delays.
    """
    work = [s for s in spans if s.works]
    if not work or len(power) < FEWEST_READINGS:
        return None
    times, watts = (np.array(column, dtype=np.float64) for column in zip(*power, strict=True))
    lines = seconds_by_label(spans, min(s.start for s in work), max(s.end for s in work))

    def residual(width: float) -> float:
        squares = []
        for delay in DELAYS_SECONDS:
            at = times - delay
            share = [(np.interp(at, x, y) - np.interp(at - width, x, y)) / width for x, y in lines]
            design = np.stack([*share, np.ones_like(times)], axis=1)
            residual = watts - design @ np.linalg.lstsq(design, watts, rcond=None)[0]
            squares.append(float(residual @ residual))
        return min(squares)

    at_once, averaged = residual(INSTANT_SECONDS), residual(window)
    if min(at_once, averaged) > TELLING * max(at_once, averaged):
        return None
    return averaged < at_once


def _deconvolved(times: Floats, means: Floats, window: float) -> tuple[Floats, Floats]:
    grid = np.arange(times[0], times[-1], GRID_SECONDS)
    lag = round(window / GRID_SECONDS)
    mean = np.interp(grid, times, means)
    joules = np.empty(len(grid))
    # Before the log began power was what the first reading says.
    joules[:lag] = mean[0] * (grid[:lag] - grid[0])
    for first in range(lag, len(grid), lag):
        last = min(first + lag, len(grid))
        joules[first:last] = joules[first - lag : last - lag] + window * mean[first:last]
    return grid, joules
