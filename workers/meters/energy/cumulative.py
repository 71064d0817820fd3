"""Cumulative energy as a source told it, the idle baseline under it, and what is seen just beside the work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np

from workers.meters.base import IDLE, Span
from workers.meters.energy.idle import Floats, IdleLevel, idle_level

# A reading whose time is not surely on one side of where work begins or ends, by so many of its standard
# uncertainties and within so much of a tick, is left out: it may hold some of the work, or lack some.
DOUBT_SIGMAS: Final = 3.0
DOUBT_PART: Final = 0.25
# What a device draws after the work counts as a tail from this part of the last interval's energy on.
TAIL_PART: Final = 0.01
LARGEST_EXPONENT: Final = 100.0  # of a tail's decay: beyond it the work's power is the limit whatever the readings say


@dataclass(frozen=True, slots=True)
class CumulativeEnergy:
    """Cumulative energy, in order of time: what a counter said, and when that was true."""

    times: Floats  # seconds
    joules: Floats
    time_std: Floats  # standard uncertainty of the times, seconds
    tick: float = 0.0  # seconds between updates of the source; 0: read exactly when asked
    quantum: float = 0.0  # joules: the smallest step of the source
    unseen: float = 0.0  # seconds in a row that a part-time sensor does not see; 0: it sees all
    cycle: float = 0.0  # seconds from one look of a part-time sensor to the next
    likely_watts: float = 0.0  # above idle, of work that the sensor may have missed altogether

    @property
    def short_seconds(self) -> float:
        """Of work below this a part-time sensor may have missed nearly everything."""
        return self.unseen + self.cycle


def idle_levels(levels: CumulativeEnergy, spans: Sequence[Span]) -> tuple[IdleLevel, ...]:
    """One level for each idle span that holds two readings or more, in order of time."""
    idles = []
    for span in sorted((s for s in spans if s.label == IDLE), key=lambda s: s.start):
        inside = (levels.times >= span.start - 1e-9) & (levels.times <= span.end + 1e-9)
        if inside.sum() >= 2:
            ends = math.hypot(*levels.time_std[inside][[0, -1]])
            idles.append(idle_level(levels.times[inside], levels.joules[inside], ends))
    return tuple(idles)


def reach_of(spans: Sequence[Span]) -> tuple[float, float]:
    """From the first to the last work. What no span covers after that is other work, as what comes between is, but for
    no longer than the longest such gap.
    """
    work = sorted((s.start, s.end) for s in spans if s.works)
    last = max(end for _, end in work)
    gap = max((b - a for (_, a), (b, _) in pairwise(work)), default=0.0)
    after = min((s.start for s in spans if s.start >= last), default=last)
    return work[0][0], min(after, last + max(gap, 0.0))


class Baseline:
    """Idle power over time: level before the first idle span's middle and after the last one's, straight in between."""

    def __init__(self, idle: Sequence[IdleLevel]) -> None:
        self._middle = np.array([i.middle for i in idle])
        self._watts = np.array([i.watts for i in idle])
        self._std = np.array([i.std for i in idle])
        seconds = sum(i.seconds for i in idle)
        self.noise = sum(i.noise * i.seconds for i in idle) / seconds  # W^2 s

    def at(self, time: float) -> tuple[float, float]:
        """Watts and their standard error; straight between two means, the errors of both in proportion."""
        right = int(np.searchsorted(self._middle, time))
        if right == 0 or right == len(self._middle):
            side = min(right, len(self._middle) - 1)
            return float(self._watts[side]), float(self._std[side])
        part = float((time - self._middle[right - 1]) / (self._middle[right] - self._middle[right - 1]))
        watts = (1 - part) * self._watts[right - 1] + part * self._watts[right]
        return float(watts), math.hypot((1 - part) * self._std[right - 1], part * self._std[right])

    def energy(self, start: Floats, end: Floats) -> Floats:
        """Joules between two times, by the trapezium over what is straight (intervals are short)."""
        watts = np.interp(np.concatenate([start, end]), self._middle, self._watts)
        return np.asarray((watts[: len(start)] + watts[len(start) :]) / 2 * (end - start))


def without_doubt(levels: CumulativeEnergy, spans: Sequence[Span]) -> CumulativeEnergy:
    """Drop the levels that are in doubt at an edge between what counts and what does not, but not the outermost."""
    counted = np.array(sorted((s.start, s.end) for s in spans if s.counts)).reshape(-1, 2)
    if not levels.tick or not len(counted):
        return levels
    joined = np.isclose(counted[1:, 0], counted[:-1, 1], rtol=0, atol=1e-6)
    edges = np.concatenate([counted[np.append(True, ~joined), 0], counted[np.append(~joined, True), 1]])
    edges.sort()
    right = np.clip(np.searchsorted(edges, levels.times), 1, len(edges) - 1)
    distance = np.minimum(np.abs(levels.times - edges[right - 1]), np.abs(levels.times - edges[right]))
    keep = distance > np.minimum(DOUBT_SIGMAS * levels.time_std, DOUBT_PART * levels.tick)
    keep[[0, -1]] = True
    return replace(levels, times=levels.times[keep], joules=levels.joules[keep], time_std=levels.time_std[keep])


def tail_joules(levels: CumulativeEnergy, baseline: Baseline, high: int, last: float, joules: float) -> float:
    """Joules above idle between the end of the work and the first reading after it; 0 where no tail is to be seen.

    A power that decays with the time constant tau and gave E in the interval after that reading gave
    E (exp(s / tau) - 1) / (1 - exp(-interval / tau)) in the s seconds before; never more than the work's power would.
    """
    if not levels.tick or high + 2 >= len(levels.times):
        return 0.0
    times = levels.times[high : high + 3]
    steps = np.diff(times)
    after = np.diff(levels.joules[high : high + 3]) - baseline.energy(times[:-1], times[1:])
    timing = baseline.at(last)[0] * np.hypot(levels.time_std[high : high + 2], levels.time_std[high + 1 : high + 3])
    doubt = np.sqrt(baseline.noise * steps + timing**2)
    if after[0] <= max(DOUBT_SIGMAS * float(doubt[0]), TAIL_PART * joules):
        return 0.0
    powers = np.array([after[0], max(after[1], doubt[1])]) / steps
    decay = math.log(max(float(powers[0] / powers[1]), 1.001)) / float(steps.mean())
    seconds = float(times[0]) - last
    growth = math.expm1(min(decay * seconds, LARGEST_EXPONENT))
    before = float(after[0]) * growth / -math.expm1(-decay * float(steps[0]))
    return max(0.0, min(before, joules * seconds / float(times[0] - levels.times[high - 1])))
