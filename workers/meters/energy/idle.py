"""The idle baseline: a mean whose standard error knows that neighbouring readings are alike.

Idle power wanders (fans, clocks, temperature), so n readings are worth fewer independent ones. The series is taken as a
first-order autoregression with coefficient rho; the variance of its mean is s^2/n * (1+rho)/(1-rho). rho is estimated
from the lag-one autocorrelation and corrected for its small-sample bias, (1 + 3 rho)/n (Marriott & Pope 1954; for the
variance of the mean see Zieba 2010, doi:10.2478/v10178-010-0001-0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.meters.energy.statistics import Z_975, t_975

Floats = NDArray[np.float64]

# Readings of a counter carry a timing error that makes neighbours anticorrelated; a stronger anticorrelation than this
# is not believed, since it would make the error vanish.
LOWEST_RHO = -0.5
HIGHEST_RHO = 0.98


@dataclass(frozen=True, slots=True)
class IdleLevel:
    """Mean idle power of one stretch."""

    middle: float  # seconds on the meter's clock
    seconds: float
    watts: float
    std: float  # standard error of the mean
    noise: float  # spectral density at zero frequency, W^2 s: the variance of the energy of t seconds is noise * t
    readings: int


def autocorrelation(residuals: Floats) -> float:
    """Lag-one autocorrelation, corrected for bias, within believable bounds."""
    n = len(residuals)
    power = float(residuals @ residuals)
    if n < 4 or power <= 0:
        return 0.0
    rho = float(residuals[:-1] @ residuals[1:]) / power
    rho += (1 + 3 * rho) / n
    return min(max(rho, LOWEST_RHO), HIGHEST_RHO)


def idle_level(times: Floats, joules: Floats, time_std: float = 0.0) -> IdleLevel:
    """Level from cumulative energy (J) at times (s), two readings or more, all of them inside one idle stretch.

    With fewer than four readings their scatter says nothing; then one per cent of the level is taken as the standard
    error, and what ``time_std``, the uncertainty of the seconds between the first and the last one, makes of it.
    """
    steps = np.diff(times)
    seconds = float(times[-1] - times[0])
    watts = float(joules[-1] - joules[0]) / seconds
    n = len(steps)
    if n < 3:
        plain = abs(watts) * math.hypot(0.01, time_std / seconds)
        independent = 2.0
    else:
        residuals = np.diff(joules) / steps - watts
        variance = float(residuals @ residuals) / (n - 1)
        rho = autocorrelation(residuals)
        independent = n * (1 - rho) / (1 + rho)
        plain = math.sqrt(variance / independent)
    # Few independent readings make the error itself uncertain; two such stretches surround the work.
    std = plain * t_975(max(2, round(2 * (independent - 1)))) / Z_975
    return IdleLevel(
        middle=float(times[0] + times[-1]) / 2,
        seconds=seconds,
        watts=watts,
        std=std,
        noise=plain * plain * seconds,
        readings=n,
    )
