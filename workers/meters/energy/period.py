"""The period of ticks that are each known to lie in a bracket, by how well they agree on one phase.

At the right period all ticks have the same phase; the length of the mean of exp(2 pi i t / period), each tick weighed
by how narrow its bracket is, is then close to one (Rayleigh's test). Counting ticks instead goes wrong by one, and with
it everything after, as soon as a busy host lets a gap pass that is longer than the period is known for. The longer the
stretch, the sharper the answer, and the narrower the search: it begins with few ticks and doubles their number.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from workers.meters.energy.idle import Floats

FEWEST: Final = 12  # ticks to begin with
STEPS_PER_PEAK: Final = 6  # the peak is about as wide as one cycle more or less over the stretch
WIDEST_PEAKS: Final = 1.5  # of the stretch before: how far the next search goes on either side


def coherent_period(low: Floats, high: Floats, rough: float, *, within: float) -> float:
    """The period next to ``rough`` (by a relative ``within``), in seconds, of one tick between each low and high."""
    times = (low + high) / 2 - low[0]
    weight = 1 / np.maximum(high - low, rough / 100) ** 2
    period, reach = rough, within * rough
    count = FEWEST
    while True:
        t, w = times[:count], weight[:count]
        stretch = max(float(t[-1]), rough)
        steps = math.ceil(reach / period * stretch / period * STEPS_PER_PEAK)
        candidates = period + reach * np.arange(-steps, steps + 1) / max(steps, 1)
        period = float(candidates[int(np.argmax([_coherence(t, w, c) for c in candidates]))])
        reach = WIDEST_PEAKS / STEPS_PER_PEAK * period**2 / stretch
        if count >= len(times):
            return period
        count *= 2


def _coherence(times: Floats, weight: Floats, period: float) -> float:
    return float(abs(np.sum(weight * np.exp(2j * np.pi / period * times))))
