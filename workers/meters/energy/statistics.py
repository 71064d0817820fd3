"""Student's t at 95 %, so that a GPU host needs no scipy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

Z_975: Final = 1.959963984540054
# Quantile 0.975 of Student's t for 1 to 20 degrees of freedom.
_T_975: Final = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
)  # fmt: skip


def t_975(degrees: int) -> float:
    """Half-width of a 95 % interval in standard errors; above 20 degrees by Cornish-Fisher, error below 1e-3."""
    if degrees < 1:
        return math.inf
    if degrees <= len(_T_975):
        return _T_975[degrees - 1]
    z = Z_975
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error; the error is infinite for one value, which says nothing of its spread."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return mean, math.inf
    variance = math.fsum((v - mean) ** 2 for v in values) / (n - 1)
    return mean, math.sqrt(variance / n)


def relative_halfwidth(values: Sequence[float]) -> float:
    """Half-width of the 95 % interval of the mean, as part of the mean; infinite where it cannot be said."""
    mean, error = mean_and_error(values)
    if mean == 0 or not math.isfinite(error):
        return math.inf
    return t_975(len(values) - 1) * error / abs(mean)
