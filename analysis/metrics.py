"""How good predictions are: the five numbers that `farm law fit` and `validate` print."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from analysis.table import DataError, Floats


def metrics(measured_joules: ArrayLike, predicted_joules: ArrayLike) -> dict[str, float | None]:
    """The metrics of the paper's Section 4.2 and the mean absolute percentage error.

    Args:
        measured_joules, predicted_joules: positive energies, (n,).

    Returns:
        r2_log (of ln E, against the mean of the measured), mape_percent, mae_joules, spearman, pearson (of joules).
        None where a number is not defined: correlations and R2 of fewer than two different values.
    """
    measured, predicted = _pair(measured_joules, predicted_joules)
    if not len(measured):
        return dict.fromkeys(("r2_log", "mape_percent", "mae_joules", "spearman", "pearson"))
    return {
        "r2_log": _r2(np.log(measured), np.log(predicted)),
        "mape_percent": float(np.mean(np.abs(predicted / measured - 1)) * 100),
        "mae_joules": float(np.mean(np.abs(predicted - measured))),
        "spearman": _correlation(_ranks(measured), _ranks(predicted)),
        "pearson": _correlation(measured, predicted),
    }


def interval_metrics(
    measured_joules: ArrayLike, low_joules: ArrayLike, high_joules: ArrayLike, level: float
) -> dict[str, float | None]:
    """``{"level", "coverage", "median_halfwidth_percent"}``: how often the bounds hold, and how wide they are.

    The half-width is that of a bound symmetric in ln E, (sqrt(high / low) - 1) x 100.
    """
    low, high = _pair(low_joules, high_joules)
    measured = np.asarray(measured_joules, dtype=np.float64)
    if not len(measured):
        return {"level": level, "coverage": None, "median_halfwidth_percent": None}
    return {
        "level": level,
        "coverage": float(np.mean((low <= measured) & (measured <= high))),
        "median_halfwidth_percent": float(np.median(np.sqrt(high / low) - 1) * 100),
    }


def _pair(one: ArrayLike, other: ArrayLike) -> tuple[Floats, Floats]:
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise DataError("energies", f"shapes {a.shape} and {b.shape}", "two arrays of the same length")
    for values in (a, b):
        if not (np.isfinite(values).all() and (values > 0).all()):
            raise DataError("energies", float(np.min(values)), "finite numbers above 0")
    return a, b


def _r2(measured: Floats, predicted: Floats) -> float | None:
    total = float(np.sum((measured - measured.mean()) ** 2))
    return 1 - float(np.sum((measured - predicted) ** 2)) / total if total > 0 else None


def _ranks(values: Floats) -> Floats:
    """From 1; equal values share the mean of their ranks."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    result: Floats = (np.cumsum(count) - (count - 1) / 2)[place]
    return result


def _correlation(one: Floats, other: Floats) -> float | None:
    """Pearson's, (n,) and (n,)."""
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    value = float(np.corrcoef(one, other)[0, 1])
    return value if math.isfinite(value) else None
