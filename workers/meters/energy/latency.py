"""How late a counter shows what it counts, found from the log itself.

If every level belongs to a time L before it was seen, shifting the log by L makes the energy of each interval agree
best with constant powers in the spans. But a board that begins low, overshoots and is then held to a limit looks late
to constant powers. So L is sought once more with powers that may change inside a span and wander (``split.py``): the
shift that makes what was seen most likely; 0 unless that is much more likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from workers.meters.base import Span
from workers.meters.energy.cumulative import Baseline, CumulativeEnergy, idle_levels, reach_of
from workers.meters.energy.idle import Floats
from workers.meters.energy.split import Segments, powers_of, rough_evidence, segments_of

LONGEST_SECONDS: Final = 0.5
AROUND_SECONDS: Final = 1.0  # of the work's beginning and end: intervals that are looked at
MOST_INTERVALS: Final = 2000
MOST_CANDIDATES: Final = 40
SIGNIFICANT: Final = 16.0  # chi-square by which it must be better


def without_latency(levels: CumulativeEnergy, spans: Sequence[Span]) -> tuple[CumulativeEnergy, float]:
    """The levels at the times that they belong to, and the latency in seconds."""
    latency = _latency(levels, spans) if levels.tick else 0.0
    return replace(levels, times=levels.times - latency), latency


def _latency(levels: CumulativeEnergy, spans: Sequence[Span]) -> float:
    idle = idle_levels(levels, spans)
    if not any(s.end > s.start for s in spans if s.works) or not idle:
        return 0.0
    first, last = reach_of(spans)
    rest = max(s.end for s in spans) - last
    longest = min(LONGEST_SECONDS, rest - 2 * levels.tick)
    times = levels.times
    near = (times[1:] > first - AROUND_SECONDS) & (times[:-1] < last + AROUND_SECONDS)
    numbers = np.flatnonzero(near)
    if longest <= 0 or len(numbers) < 4:
        return 0.0
    if len(numbers) > MOST_INTERVALS:
        numbers = np.concatenate([numbers[: MOST_INTERVALS // 2], numbers[-MOST_INTERVALS // 2 :]])
    begins, ends = times[numbers], times[numbers + 1]
    dynamic = levels.joules[numbers + 1] - levels.joules[numbers] - Baseline(idle).energy(begins, ends)
    noise = sum(i.noise for i in idle) / len(idle) * float(np.median(np.diff(times)))
    cumulative = seconds_by_label(spans, first, last)

    def residuals(latency: float) -> Floats:
        lines = [np.interp(ends - latency, x, y) - np.interp(begins - latency, x, y) for x, y in cumulative]
        overlap = np.stack(lines, axis=1)
        return np.asarray(dynamic - overlap @ np.linalg.lstsq(overlap, dynamic, rcond=None)[0])

    def misfit(latency: float) -> float:
        return float(np.square(residuals(latency)).sum())

    step = levels.tick / 8
    candidates = np.arange(0.0, longest, step)
    best = float(candidates[int(np.argmin([misfit(c) for c in candidates]))])
    fine = np.linspace(max(0.0, best - step), best + step, 17)
    best = float(fine[int(np.argmin([misfit(c) for c in fine]))])
    none, least = misfit(0.0), misfit(best)
    scale = max(least / max(1, len(numbers) - len(cumulative) - 1), noise, 1e-12)
    if none - least <= SIGNIFICANT * scale:
        return 0.0
    # A late counter is late at both ends of the work; a device that draws on after it looks late at its end only.
    early = begins < first + best + levels.tick
    earlier, later = (float(np.square(residuals(c)[early]).sum()) for c in (0.0, best))
    if later >= earlier:
        return 0.0
    return _beyond_wandering(
        levels, segments_of(spans, first, last, levels.tick), (begins, ends, dynamic), noise, longest
    )


def _beyond_wandering(
    levels: CumulativeEnergy, segments: Segments, intervals: tuple[Floats, Floats, Floats], noise: float, longest: float
) -> float:
    """The latency, if power that wanders, or begins low and overshoots, does not explain as well what was seen."""
    begins, ends, dynamic = intervals
    variance = np.full(len(dynamic), noise + levels.quantum**2 / 6)

    def intervals_at(latency: float) -> tuple[Segments, Floats, Floats, Floats, float]:
        seconds = segments.seconds(begins - latency, ends - latency)
        return segments, seconds, dynamic, variance, levels.tick

    def likelihood(latency: float) -> float:
        return rough_evidence(*intervals_at(latency))

    step = max(levels.tick / 8, longest / MOST_CANDIDATES)
    best = max(np.arange(0.0, longest, step).tolist(), key=likelihood)
    for _ in range(2):
        best = max(np.linspace(max(0.0, best - step), best + step, 9).tolist(), key=likelihood)
        step /= 4
    late, none = powers_of(*intervals_at(best)), powers_of(*intervals_at(0.0))
    return best if (late.evidence - none.evidence) / late.alike > SIGNIFICANT / 2 else 0.0


def seconds_by_label(spans: Sequence[Span], first: float, last: float) -> list[tuple[Floats, Floats]]:
    """By label (other for gaps): seconds of it up to a time, as the corners of a broken line."""
    lines = []
    labels = dict.fromkeys(s.label for s in spans if s.counts)
    for label in labels:
        edges = sorted((s.start, s.end) for s in spans if s.label == label)
        corners = np.array(edges).ravel()
        seconds = np.zeros_like(corners)
        seconds[1::2] = [end - start for start, end in edges]
        lines.append((corners, np.cumsum(seconds)))
    corners = np.unique(np.concatenate([x for x, _ in lines] + [np.array([first, last])]))
    named = sum((np.interp(corners, x, y) for x, y in lines), np.zeros_like(corners))
    gaps = corners - first - named
    return [*lines, (corners, gaps)] if gaps[-1] > 1e-6 else lines
