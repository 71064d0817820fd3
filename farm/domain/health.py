"""Whether a device still draws what it drew: one more check held against its own good ones."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

BASELINE_CHECKS: Final = 3  # good ones that a baseline needs
LONGEST_BASELINE: Final = 10  # the first so many: a baseline that followed the device would never see a slow drift
SPREADS: Final = 4.0  # of its own noise, beyond which a deviation is drift
MAD_TO_STD: Final = 1.4826  # of normally distributed values


class Verdict(StrEnum):
    """What came of a health check."""

    GOOD = "good"
    DRIFTED = "drifted"  # measured, and too far from the baseline
    FAILED = "failed"  # no energy, or one that a flag spoils
    CANCELLED = "cancelled"  # not made: the device was taken off or went away before


@dataclass(frozen=True, slots=True)
class Deviation:
    """How far one energy is from the baseline, in percent."""

    percent: float
    limit_percent: float  # beyond it is drift

    @property
    def drifted(self) -> bool:
        """Whether it is more than the device's noise."""
        return abs(self.percent) > self.limit_percent


def deviation(energy_joules: float, good_joules: Sequence[float], tolerance_percent: float) -> Deviation | None:
    """How far an energy is from the median of the device's own good checks; None before there are enough of those.

    The limit is four times their spread (the median absolute deviation of the logarithms, as a standard deviation), at
    least ``tolerance_percent``: a few checks can lie closer together than the device is steady.
    """
    baseline = [math.log(joules) for joules in good_joules[:LONGEST_BASELINE]]
    if len(baseline) < BASELINE_CHECKS:
        return None
    middle = statistics.median(baseline)
    spread = MAD_TO_STD * statistics.median(abs(value - middle) for value in baseline)
    percent = 100.0 * math.expm1(math.log(energy_joules) - middle)
    return Deviation(percent, max(tolerance_percent, 100.0 * math.expm1(SPREADS * spread)))
