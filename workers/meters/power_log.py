"""From a log of power to cumulative energy: the cross-check of a counter, and the fallback where there is none.

Instantaneous power is integrated by the trapezium rule. A moving average over ``window`` seconds, as most boards since
Ampere give, is the difference of the energy over that window: E(t) = E(t - window) + window * mean(t). Beginning in a
stretch of constant (idle) power, that recursion gives the energy back; smeared edges and a missing tail with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from workers.meters.attribution import Levels
from workers.meters.idle import Floats

GRID_SECONDS = 0.05


def power_levels(power: Sequence[tuple[float, float]], *, window: float = 0.0) -> Levels | None:
    """Cumulative energy at the time of each reading (window 0) or on a grid; None below three readings."""
    if len(power) < 3:
        return None
    times, watts = (np.array(column, dtype=np.float64) for column in zip(*power, strict=True))
    rising = np.concatenate([[True], np.diff(times) > 0])
    times, watts = times[rising], watts[rising]
    spacing = float(np.median(np.diff(times)))
    if window > 0:
        times, joules = _deconvolved(times, watts, window)
    else:
        joules = np.concatenate([[0.0], np.cumsum((watts[1:] + watts[:-1]) / 2 * np.diff(times))])
    spread = np.full(len(times), spacing / math.sqrt(12))
    return Levels(times=times, joules=joules, time_std=spread, tick=spacing, unseen=spacing / 2)


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
