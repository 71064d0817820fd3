"""The counter against the power log: in sums, and tick by tick for what sums cannot see.

A counter that leaps or falls back by less than a tick's energy moves the sum by little, but no power that was seen
around that tick would explain it. Power that changes faster than it is read makes any sum of readings doubtful.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from workers.meters.base import Span
from workers.meters.energy.attribution import Attribution
from workers.meters.energy.cumulative import CumulativeEnergy
from workers.meters.energy.idle import Floats

DISAGREE: Final = 0.05  # relative
SIGMAS: Final = 4.0  # and by so many standard uncertainties
POWER_EDGE_SECONDS: Final = 0.035  # of power log: standard uncertainty of when a change was seen
AROUND_SECONDS: Final = 0.15  # readings of power so near an interval tell what it can have held
LONGEST_GAP_SECONDS: Final = 0.08  # between them; further apart, a burst may have passed unseen
LONGEST_DIP_SECONDS: Final = 0.15  # likewise, for a dip
EDGE_SECONDS: Final = 0.06  # of a span, where a reading may be of what is beside it
STEADY_PART: Final = 0.1  # of its mean: power that scatters less than this around it is steady

Readings = Sequence[tuple[float, float]]  # (seconds, watts)


def disagree(
    counter: CumulativeEnergy,
    counted: Attribution,
    power: CumulativeEnergy,
    integrated: Attribution,
    spans: Sequence[Span],
    readings: Readings,
) -> bool:
    """Whether counter and power differ by five per cent and more than their uncertainties: at work, idle or in all.

    ``counted`` and ``integrated`` are what the two say of the spans. ``readings`` is the log of instantaneous power,
    empty where it is an average.
    """
    edges = _edge_seconds(power, spans) * max(counted.change_watts, integrated.change_watts)
    # A sensor that looks now and then may itself be in step with what it looks at: then the difference tells.
    scatter = 0.0 if counter.unseen else _scatter(readings, spans)
    sigma = math.hypot(counted.total_std, integrated.total_std, edges, scatter)
    if _apart(counted.total, integrated.total, sigma):
        return True
    if _apart(counted.idle_watts, integrated.idle_watts, math.hypot(counted.idle_std, integrated.idle_std)):
        return True
    start = max(min(s.start for s in spans), counter.times[0], power.times[0])
    end = min(max(s.end for s in spans), counter.times[-1], power.times[-1])
    all_counted, all_integrated = (
        float(np.diff(np.interp([start, end], levels.times, levels.joules))[0]) for levels in (counter, power)
    )
    ends = integrated.idle_watts * (counter.tick + power.tick) + integrated.idle_std * (end - start)
    if _apart(all_counted, all_integrated, math.hypot(edges, ends, scatter)):
        return True
    # Not by the whole uncertainty: a leap in an idle stretch would excuse itself by what it does to the baseline.
    leaps, gap = _leaps(counter, readings, spans)
    unseen = gap * counted.change_watts / math.sqrt(2)  # of a burst between two readings
    doubt = SIGMAS * math.hypot(counted.budget["tick"], counted.budget["sensor_duty"])
    return abs(leaps) > max(DISAGREE * abs(counted.total), doubt, scatter, unseen)


def _apart(a: float, b: float, sigma: float) -> bool:
    return abs(a - b) > max(SIGMAS * sigma, DISAGREE * max(abs(a), abs(b)))


def _edge_seconds(power: CumulativeEnergy, spans: Sequence[Span]) -> float:
    """Readings of power stand for the time between them: what changes in between is missed or counted twice."""
    work = [s for s in spans if s.works]
    at = np.searchsorted(power.times, [min(s.start for s in work), max(s.end for s in work)])
    longest = float(np.diff(power.times[max(at[0] - 1, 0) : at[1] + 1]).max(initial=0.0))  # a busy host reads late
    return max(POWER_EDGE_SECONDS, longest / 2)


def _leaps(counter: CumulativeEnergy, readings: Readings, spans: Sequence[Span]) -> tuple[float, float]:
    """Joules that the counter gave beyond (below: negative) what the highest (lowest) power seen around explains.

    And the longest time in seconds, of those looked at, between two readings.
    """
    if len(readings) < 3:
        return 0.0, 0.0
    read_at, watts = (np.array(column, dtype=np.float64) for column in zip(*readings, strict=True))
    start, end = min(s.start for s in spans), max(s.end for s in spans)
    low, high = counter.times[:-1], counter.times[1:]
    first, last = np.searchsorted(read_at, low - AROUND_SECONDS), np.searchsorted(read_at, high + AROUND_SECONDS)
    covered = np.flatnonzero((low >= start) & (high <= end) & (last - first >= 3))
    if not len(covered):
        return 0.0, 0.0
    first, last, seconds = first[covered], last[covered], (high - low)[covered]
    gap = _over(np.maximum, np.diff(read_at), first, last - 1)
    doubt = SIGMAS * np.hypot(counter.time_std[:-1], counter.time_std[1:])[covered]
    most = _over(np.maximum, watts, first, last) * (seconds + doubt) + counter.quantum
    least = _over(np.minimum, watts, first, last) * (seconds - doubt) - counter.quantum
    joules = np.diff(counter.joules)[covered]
    beyond = np.maximum(joules - most, 0.0)[gap < LONGEST_GAP_SECONDS].sum()
    below = np.minimum(joules - least, 0.0)[gap < LONGEST_DIP_SECONDS].sum()
    return float(beyond + below), float(gap.max(where=gap < LONGEST_GAP_SECONDS, initial=0.0))


def _over(reduce: np.ufunc, values: Floats, first: np.ndarray, last: np.ndarray) -> Floats:
    """Reduce ``values[first:last]`` for each pair, last > first. Without a loop, since logs may be hours long."""
    padded = np.append(values, values[-1])  # as a stop may be the length
    return np.asarray(reduce.reduceat(padded, np.stack([first, last], axis=1).ravel())[::2])


def _scatter(readings: Readings, spans: Sequence[Span]) -> float:
    """Standard uncertainty, in joules, of the sum of readings of a power that changes in step with them; 0: steady."""
    read_at, watts = np.array(readings, dtype=np.float64).reshape(-1, 2).T
    joules = 0.0
    for label in {s.label for s in spans if s.counts}:
        starts, ends = np.array(sorted((s.start, s.end) for s in spans if s.label == label)).T
        at = np.searchsorted(starts + EDGE_SECONDS, read_at) - 1
        inside = watts[(at >= 0) & (read_at < ends[at] - EDGE_SECONDS)]
        if len(inside) > 2:
            beyond = max(0.0, float(inside.var()) - (STEADY_PART * float(inside.mean())) ** 2)
            joules = math.hypot(joules, math.sqrt(beyond) * float((ends - starts).sum()))
    return joules
