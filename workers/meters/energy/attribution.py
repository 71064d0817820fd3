"""From cumulative energy and labelled spans to joules above idle, with their uncertainty. Pure numpy functions.

1. Idle: the mean power of every idle span; between spans the baseline is interpolated, so a linear drift costs nothing.
2. Each interval between two readings holds a known energy. What is above idle belongs to the work in that interval. An
   interval with work of one span gives it all to that span, however little of the interval it fills, as idle has no
   dynamic energy: a burst shorter than a tick loses nothing at its edges.
   Where the device goes on drawing after the work, what it drew from the end of the work to the next reading is
   taken off, by the exponential through the two intervals that follow.
3. An interval with work of several labels is shared in proportion to their powers (``split.py``). So the spans sum to
   the whole.

The standard uncertainty adds, in squares: the idle baseline times the seconds of the intervals that were looked at,
idle noise that goes on in them, the time of a reading at each end of the whole, the split of shared intervals (known by
label, as it errs alike in all its spans; in the whole only where they are shared with work that does not count), and
what a part-time sensor may miss where the power changes, at the edges of spans or inside them. An edge at a random
place of a sensor's cycle is seen up to ``unseen`` seconds early or late; for a burst the standard deviation of both
edges together is between 0 and ``unseen`` / 2, by its length, and the worst case is stated: unseen / sqrt(8) for each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workers.meters.base import IDLE, PAD, Span
from workers.meters.energy.cumulative import (
    Baseline,
    CumulativeEnergy,
    idle_levels,
    reach_of,
    tail_joules,
    without_doubt,
)
from workers.meters.energy.idle import Floats, IdleLevel
from workers.meters.energy.split import (
    MOST_INTERVALS,
    PRIOR_PART,
    Powers,
    Segments,
    Split,
    labels_of,
    powers_of,
    segments_of,
    split,
)

# Standard uncertainty of what is taken off for a tail, as part of it.
TAIL_UNCERTAINTY = 0.3
# A label's power is at least this part of the highest one, so that noise never makes it negative.
SMALLEST_SHARE = 1e-4


@dataclass(frozen=True, slots=True)
class Attribution:
    """Energies above idle. Arrays are by span, in the order given; idle and pad spans have 0."""

    joules: Floats
    independent: Floats  # standard uncertainty of each span by itself: adds up in squares
    common: Floats  # and what is alike in all of them, as the baseline is: adds up straight
    split: dict[str, float]  # and what the sharing of intervals with other labels leaves in doubt, by label
    total: float
    total_std: float
    idle: tuple[IdleLevel, ...]
    idle_watts: float  # under the work
    idle_std: float
    gross: float
    change_watts: float  # root of the summed squares of all changes of power: how much depends on the edges
    budget: dict[str, float]  # standard uncertainty of the total by cause, joules


def attribute(levels: CumulativeEnergy, spans: Sequence[Span]) -> Attribution | None:
    """Energy of every span above idle; None where the log does not reach around the work or holds no idle."""
    work = [s for s in spans if s.works]
    idle = idle_levels(levels, spans)
    if not any(s.end > s.start for s in work) or not idle:
        return None
    first, last = reach_of(spans)
    levels = without_doubt(levels, spans)
    low = int(np.searchsorted(levels.times, first, side="right")) - 1
    high = int(np.searchsorted(levels.times, last, side="left"))
    if low < 0 or high >= len(levels.times) or high <= low:
        return None
    baseline = Baseline(idle)
    times, joules = levels.times[low : high + 1], levels.joules[low : high + 1]
    dynamic = np.diff(joules) - baseline.energy(times[:-1], times[1:])
    tail = tail_joules(levels, baseline, high, last, float(dynamic[-1]))
    dynamic[-1] -= tail

    pieces = _cut(times, spans, first, last)
    powers = _powers(pieces, dynamic, times)
    shared = _shared(levels, baseline, pieces, spans, dynamic, low)
    share = shared.share
    energy = share * dynamic[pieces.interval]

    n = len(spans)
    owned = pieces.span >= 0
    span_joules = _sums(pieces.span[owned], energy[owned], n)
    # Seconds that idle was subtracted over: of the intervals that the energy was found in.
    reach = _sums(pieces.span[owned], (share * np.diff(times)[pieces.interval])[owned], n)
    seconds = np.array([s.end - s.start for s in spans])
    working = np.array([s.works for s in spans])
    counted = np.array([s.counts for s in spans])
    span_joules[~working] = 0.0
    total = float(span_joules[counted].sum())
    duration = float(seconds[counted].sum())
    middle = float((seconds * np.array([(s.start + s.end) / 2 for s in spans]))[counted].sum()) / max(duration, 1e-12)

    idle_watts, idle_std = baseline.at(middle)
    jumps = _jumps(pieces, powers)
    change, missed, inside = _unseen(levels, pieces, powers, dynamic, jumps, duration)
    step = levels.quantum / math.sqrt(12)
    edges = [math.hypot(baseline.at(time)[0] * levels.time_std[at], step) for time, at in ((first, low), (last, high))]
    variance = (missed**2) * _by_span(pieces, jumps, n) + baseline.noise * reach
    edges[1] = math.hypot(edges[1], TAIL_UNCERTAINTY * tail)
    for span, joule_std in zip(_edge_spans(pieces), edges, strict=True):
        variance[span] += joule_std**2
    variance += inside**2 * seconds * counted / max(duration, 1e-12)
    budget = {
        "idle": idle_std * float(reach[counted].sum()),
        "idle_noise": math.sqrt(baseline.noise * float(reach[counted].sum())),
        "tick": math.hypot(*edges),
        "sensor_duty": math.hypot(missed * change, inside),
        "split": float(shared.label_std[0]),  # all that other work does not have is the total
    }
    return Attribution(
        joules=span_joules,
        independent=np.sqrt(variance) * working,
        common=idle_std * reach,
        split=dict(zip(pieces.labels, shared.label_std.tolist(), strict=True)),
        total=total,
        total_std=math.sqrt(sum(v * v for v in budget.values())),
        idle=idle,
        idle_watts=idle_watts,
        idle_std=idle_std,
        gross=total + idle_watts * duration,
        change_watts=change,
        budget=budget,
    )


@dataclass(frozen=True, slots=True)
class _Pieces:
    """The time between the readings around the work, cut at every reading and every edge of a span."""

    start: Floats
    seconds: Floats
    interval: np.ndarray  # index of the interval between readings
    span: np.ndarray  # index of the span, -1 for a gap
    label: np.ndarray  # index of the label
    works: np.ndarray  # False where idle or pad: no dynamic energy
    labels: tuple[str, ...]


def _cut(times: Floats, spans: Sequence[Span], first: float, last: float) -> _Pieces:
    edges = np.array([e for s in spans for e in (s.start, s.end)])
    cuts = np.unique(np.concatenate([times, edges[(edges > times[0]) & (edges < times[-1])]]))
    middle = (cuts[:-1] + cuts[1:]) / 2
    order = np.argsort([s.start for s in spans], kind="stable")
    starts = np.array([spans[i].start for i in order])
    ends = np.array([spans[i].end for i in order])
    at = np.searchsorted(starts, middle, side="right") - 1
    inside = (at >= 0) & (middle < ends[np.maximum(at, 0)])
    span = np.where(inside, order[np.maximum(at, 0)], -1)
    labels = labels_of(spans)
    number = np.array([labels.index(s.label) for s in spans])
    label = np.where(span >= 0, number[np.maximum(span, 0)], 0)
    rests = np.array([name in (IDLE, PAD) for name in labels])
    return _Pieces(
        start=cuts[:-1],
        seconds=np.diff(cuts),
        interval=np.clip(np.searchsorted(times, middle, side="right") - 1, 0, len(times) - 2),
        span=span,
        label=label,
        works=~rests[label] & (middle > first) & (middle < last),
        labels=labels,
    )


def _powers(pieces: _Pieces, dynamic: Floats, times: Floats) -> Floats:
    """Mean power above idle of each label, by least squares over the intervals; positive. What changes at edges."""
    overlap = np.zeros((len(dynamic), len(pieces.labels)))
    np.add.at(overlap, (pieces.interval, pieces.label), pieces.seconds * pieces.works)
    covered = overlap.sum(axis=0) > 0
    powers = np.ones(len(pieces.labels))
    if covered.any():
        # Intervals differ in length; an interval's error grows with the root of it.
        scale = 1 / np.sqrt(np.maximum(np.diff(times), 1e-9))
        powers[covered] = np.linalg.lstsq(overlap[:, covered] * scale[:, None], dynamic * scale, rcond=None)[0]
        highest = float(np.max(np.abs(powers[covered])))
        powers = np.maximum(powers, max(SMALLEST_SHARE * highest, 1e-9))
    return powers


def _shared(
    levels: CumulativeEnergy, baseline: Baseline, pieces: _Pieces, spans: Sequence[Span], dynamic: Floats, low: int
) -> Split:
    """Shares of the pieces in their intervals: by time in those of a single label, by power where there are more."""
    n, labels = len(dynamic), len(pieces.labels)
    work = pieces.seconds * pieces.works
    share = np.divide(work, _sums(pieces.interval, work, n)[pieces.interval], out=np.zeros_like(work), where=work > 0)
    pairs = np.unique((pieces.interval * labels + pieces.label)[work > 0])
    several = np.bincount(pairs // labels, minlength=n) > 1
    mixed = several[pieces.interval] & (work > 0)
    if not mixed.any():
        return Split(share, np.zeros(labels))
    tick = levels.tick or float(np.median(np.diff(levels.times)))
    ends = pieces.start + pieces.seconds
    segments = segments_of(spans, float(pieces.start[pieces.works][0]), float(ends[pieces.works][-1]), tick)
    powers = _segment_powers(levels, baseline, segments, spans, dynamic, low, tick)
    by_power = split(
        powers, segments.seconds(pieces.start[mixed], ends[mixed]), pieces.interval[mixed], pieces.label[mixed], labels
    )
    share[mixed] = by_power.share
    return Split(share, by_power.label_std)


def _segment_powers(
    levels: CumulativeEnergy,
    baseline: Baseline,
    segments: Segments,
    spans: Sequence[Span],
    dynamic: Floats,
    low: int,
    tick: float,
) -> Powers:
    """From the intervals' energies; of very many, from some that are spread over all."""
    n = len(dynamic)
    times, time_std = levels.times[low : low + n + 1], levels.time_std[low : low + n + 1]
    first, last = reach_of(spans)
    mean = float(dynamic.sum()) / (last - first)
    late = mean * np.hypot(time_std[:-1], time_std[1:])
    variance = baseline.noise * np.diff(times) + late**2 + levels.quantum**2 / 12 + 1e-12
    # After the work, until the next span or reading, there may be more that nobody marked.
    after = min((s.start for s in spans if s.start >= last), default=last)
    variance[-1] += (PRIOR_PART * mean * min(after - last, float(times[-1]) - last)) ** 2
    sample = np.unique(np.linspace(0, n - 1, min(n, MOST_INTERVALS)).astype(np.int64))
    seconds = segments.seconds(times[sample], times[sample + 1])
    return powers_of(segments, seconds, dynamic[sample], variance[sample], tick)


def _unseen(
    levels: CumulativeEnergy, pieces: _Pieces, powers: Floats, dynamic: Floats, jumps: Floats, duration: float
) -> tuple[float, float, float]:
    """How much power changes at edges, in watts; for how long that may go unseen, in seconds; and joules for changes
    inside the spans, which the difference from one interval to the next tells.
    """
    missed = levels.unseen / math.sqrt(8)
    change = math.sqrt(float(jumps @ jumps))
    residual = _misfits(pieces, powers, dynamic)
    # All of it in one look of the sensor, however long the interval is.
    watts = residual / np.minimum(_sums(pieces.interval, pieces.seconds, len(dynamic)), levels.cycle or math.inf)
    inside = missed * math.sqrt(float(np.square(np.diff(watts)).sum()))
    if duration < levels.short_seconds:
        return max(change, math.sqrt(2) * levels.likely_watts), missed, inside
    # A part-time sensor that saw what a constant power would give has, this time, missed nothing.
    return change, min(missed, _misfit(pieces, residual) / max(change, 1e-12)), inside


def _misfits(pieces: _Pieces, powers: Floats, dynamic: Floats) -> Floats:
    """Joules by which each interval misses the constant powers; 0 where there is no work."""
    expected = _sums(pieces.interval, powers[pieces.label] * pieces.seconds * pieces.works, len(dynamic))
    return np.where(expected > 0, dynamic - expected, 0.0)


def _misfit(pieces: _Pieces, residual: Floats) -> float:
    """Joules by which the intervals with work miss the constant powers, in squares; infinite where too few tell."""
    working = np.unique(pieces.interval[pieces.works])
    free = len(working) - len(np.unique(pieces.label[pieces.works]))
    return math.sqrt(float(residual @ residual) * len(working) / free) if free >= 2 else math.inf


def _jumps(pieces: _Pieces, powers: Floats) -> Floats:
    """Change of power at the start of each piece, and at the end of the last one."""
    level = np.concatenate([[0.0], powers[pieces.label] * pieces.works, [0.0]])
    return np.diff(level)


def _by_span(pieces: _Pieces, jumps: Floats, n: int) -> Floats:
    """Sum of squared power changes at the edges of each span."""
    both = jumps[:-1] ** 2 + jumps[1:] ** 2
    owned = pieces.span >= 0
    return _sums(pieces.span[owned], both[owned], n)


def _sums(groups: np.ndarray, values: Floats, n: int) -> Floats:
    return np.bincount(groups, values, n).astype(np.float64)


def _edge_spans(pieces: _Pieces) -> tuple[int, int]:
    """The spans of the first and last work."""
    owners = pieces.span[(pieces.span >= 0) & pieces.works]
    return int(owners[0]), int(owners[-1])
