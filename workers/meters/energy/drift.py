"""An idle power that changes: along a straight line it costs nothing, otherwise it is waited for, and told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from workers.meters.base import IDLE, Span
from workers.meters.energy.attribution import Attribution
from workers.meters.energy.cumulative import CumulativeEnergy, idle_levels

SIGMAS: Final = 4.0  # by which a change is one
SETTLED_SECONDS: Final = 0.6  # of the idle after the work at least, however it drifts


@dataclass(frozen=True, slots=True)
class _Slope:
    watts_per_second: float
    std: float

    def departs(self, other: float) -> bool:
        return abs(self.watts_per_second - other) >= SIGMAS * self.std


def _slope(levels: CumulativeEnergy, span: Span) -> _Slope | None:
    """Trend of the power inside an idle span, from the energies of its quarters."""
    inside = (levels.times >= span.start) & (levels.times <= span.end)
    times, joules = levels.times[inside], levels.joules[inside]
    if len(times) < 9:
        return None
    middles = (times[1:] + times[:-1]) / 2 - times.mean()
    watts = np.diff(joules) / np.diff(times)
    fit = np.polyfit(middles, watts, 1)
    residual = watts - np.polyval(fit, middles)
    # Neighbouring readings are alike: the residual variance is taken over blocks of a quarter.
    blocks = [block.mean() * math.sqrt(len(block)) for block in np.array_split(residual, 4)]
    variance = max(float(residual @ residual) / (len(residual) - 2), float(np.mean(np.square(blocks))))
    return _Slope(float(fit[0]), math.sqrt(variance / float(middles @ middles)))


def settled(levels: CumulativeEnergy, spans: Sequence[Span]) -> list[Span]:
    """The spans, but of the idle after the work only the later part, where power still falls or rises in the earlier
    one, otherwise than from the idle before: a device needs seconds until it draws its idle power again.
    """
    idle = sorted((s for s in spans if s.label == IDLE), key=lambda s: s.start)
    if len(idle) < 2:
        return list(spans)
    before, rest = idle[0], idle[-1]
    while (slope := _slope(levels, rest)) and _departs(slope, levels, before, rest):
        later = replace(rest, start=(rest.start + rest.end) / 2)
        if later.end - later.start < SETTLED_SECONDS:
            break
        rest = later
    return [rest if span is idle[-1] else span for span in spans]


def _departs(slope: _Slope, levels: CumulativeEnergy, before: Span, after: Span) -> bool:
    first, last = (idle_levels(levels, [span]) for span in (before, after))
    if not first or not last:
        return False
    return slope.departs((last[0].watts - first[0].watts) / (last[0].middle - first[0].middle))


def drift_joules(levels: CumulativeEnergy, attributed: Attribution, spans: Sequence[Span], seconds: float) -> float:
    """Standard uncertainty, in joules, from an idle power that changed otherwise than along a straight line."""
    if len(attributed.idle) < 2:
        return 0.0
    before, after = attributed.idle[0], attributed.idle[-1]
    if after.middle <= before.middle:
        return 0.0
    change = after.watts - before.watts
    straight = change / (after.middle - before.middle)
    idle = sorted((s for s in spans if s.label == IDLE), key=lambda s: s.start)
    ends = [(s, _slope(levels, s)) for s in (idle[0], idle[-1])]
    bends = [(s.end - s.start) / 2 * abs(t.watts_per_second - straight) for s, t in ends if t and t.departs(straight)]
    stepped = abs(change) > SIGMAS * math.hypot(before.std, after.std)
    if not bends and all(slope is not None for _, slope in ends):
        return 0.0
    return max([abs(change) if stepped else 0.0, *bends]) * seconds / math.sqrt(12)
