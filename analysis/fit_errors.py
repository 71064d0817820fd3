"""Whether a fit errs more than another on rows that were held out of both, beyond what noise explains.

Errors are compared by pair of model and GPU and by split, so that rows of another model or GPU, which may be harder,
count against nobody. The difference of the means has a standard error from the scatter of the rows' errors; since rows
of a pair err together, three of it are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from analysis.validation import Validation

BY_PAIR: Final = "by_pair"  # key of what `by_pair` returns in a split's document
STANDARD_ERRORS: Final = 3.0


def by_pair(outcome: Validation) -> dict[str, dict[str, float]]:
    """Rows, mean absolute error in per cent and its standard error, by "model on gpu"."""
    error = 100 * np.abs(outcome.predicted_joules / outcome.measured_joules - 1)
    first, group = outcome.table.groups("model", "gpu")
    pairs = outcome.table.take(first)
    errors = {}
    for place, (model, gpu) in enumerate(zip(pairs.model.tolist(), pairs.gpu.tolist(), strict=True)):
        of_pair = error[group == place]
        n = len(of_pair)
        scatter = float(np.std(of_pair, ddof=1)) if n > 1 else float(of_pair[0])
        errors[f"{model} on {gpu}"] = {"n": n, "mape_percent": float(of_pair.mean()), "std_error": scatter / n**0.5}
    return errors


def worse(fresh: Mapping[str, Any], before: Mapping[str, Any]) -> str | None:
    """By how much a new fit errs more than one before it, in words; None where it does not beyond noise, or where
    nothing can be compared. Both are ``metrics`` of stored fits."""
    new, old = _errors(fresh), _errors(before)
    common = sorted(new.keys() & old.keys())
    if not common:
        return None
    weight = np.array([new[key]["n"] for key in common], dtype=np.float64)
    weight /= weight.sum()
    means = [np.array([errors[key]["mape_percent"] for key in common]) for errors in (new, old)]
    stds = [np.array([errors[key]["std_error"] for key in common]) for errors in (new, old)]
    difference = float(weight @ (means[0] - means[1]))
    noise = float(np.sqrt(weight**2 @ (stds[0] ** 2 + stds[1] ** 2)))
    if difference <= STANDARD_ERRORS * noise:
        return None
    return f"{weight @ means[0]:.3g}%, before {weight @ means[1]:.3g}% (noise {noise:.2g})"


def _errors(metrics: Mapping[str, Any]) -> dict[tuple[str, str], Mapping[str, float]]:
    """Of (split, pair); nothing of a fit that states none."""
    splits = metrics.get("validation") or {}
    return {(name, pair): error for name, split in splits.items() for pair, error in split.get(BY_PAIR, {}).items()}
