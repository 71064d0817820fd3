"""How good predictions are: the numbers that `farm law fit` and `validate` print."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from analysis.table import DataError, Floats


def metrics(measured_joules: ArrayLike, predicted_joules: ArrayLike) -> dict[str, float | None]:
    """The metrics of the paper's Section 4.2 and the mean absolute percentage error.

    Args:
        measured_joules, predicted_joules: positive energies, (n,).

    Returns:
        r2_log (of ln E, against the mean of the measured), mape_percent, bias_percent (mean of the signed percentage
        errors), mae_joules, spearman, pearson (of joules). None where a number is not defined: correlations and R2 of
        fewer than two different values.
    """
    measured, predicted = _pair(measured_joules, predicted_joules)
    if not len(measured):
        return dict.fromkeys(("r2_log", "mape_percent", "bias_percent", "mae_joules", "spearman", "pearson"))
    return {
        "r2_log": _r2(np.log(measured), np.log(predicted)),
        "mape_percent": float(np.mean(np.abs(predicted / measured - 1)) * 100),
        "bias_percent": float(np.mean(predicted / measured - 1) * 100),
        "mae_joules": float(np.mean(np.abs(predicted - measured))),
        "spearman": _correlation(_ranks(measured), _ranks(predicted)),
        "pearson": _correlation(measured, predicted),
    }


def interval_metrics(
    measured_joules: ArrayLike, low_joules: ArrayLike, high_joules: ArrayLike, level: float
) -> dict[str, float | None]:
    """``{"level", "coverage", "median_halfwidth_percent", "interval_score"}``: how often the bounds hold, how wide they
    are, and both in one number.

    The half-width is that of a bound symmetric in ln E, (sqrt(high / low) - 1) x 100. The interval score is of ln E:
    its mean width, and 2 / (1 - level) times what a measured one lies outside; less is better (Gneiting and Raftery,
    JASA 102, 2007, section 6.2).
    """
    low, high = _pair(low_joules, high_joules)
    measured = np.asarray(measured_joules, dtype=np.float64)
    if not len(measured):
        return {"level": level, "coverage": None, "median_halfwidth_percent": None, "interval_score": None}
    outside = np.maximum(np.log(low / measured), 0) + np.maximum(np.log(measured / high), 0)
    return {
        "level": level,
        "coverage": float(np.mean((low <= measured) & (measured <= high))),
        "median_halfwidth_percent": float(np.median(np.sqrt(high / low) - 1) * 100),
        "interval_score": float(np.mean(np.log(high / low) + 2 / (1 - level) * outside)),
    }


def seconds_mape_percent(measured_seconds: ArrayLike, predicted_seconds: ArrayLike) -> float | None:
    """Mean absolute percentage error over the rows whose seconds were measured; None where none were."""
    measured, predicted = np.asarray(measured_seconds, dtype=np.float64), np.asarray(predicted_seconds)
    timed = measured > 0  # not NaN, either
    return float(np.mean(np.abs(predicted[timed] / measured[timed] - 1)) * 100) if timed.any() else None


def mean_of(parts: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The mean of each number over those parts in which it is defined; None where it is in none."""
    names = dict.fromkeys(name for part in parts for name in part)
    known = {name: [part[name] for part in parts if part.get(name) is not None] for name in names}
    return {name: float(np.mean(values)) if values else None for name, values in known.items()}  # type: ignore[arg-type]


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
