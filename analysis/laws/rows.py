"""Which rows a law is fitted to: those that pass the checks that all laws share, and what the others lack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.table import DataError, Floats, Table
from farm.domain.parsing import MAX_JOULES, MIN_JOULES

LeftOut = list[dict[str, Any]]  # {"what": "rows", "column" or "formula", "name", "why", "count"}; rows: "numbers", too


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that a law can be fitted to, and those that it leaves out, with the reasons."""

    table: Table
    energy_joules: Floats  # (n,), positive; NaN of rows that state seconds alone
    weight: Floats | None  # (n,), positive
    left_out: LeftOut

    @property
    def with_energy(self) -> NDArray[np.bool_]:
        """Which rows state an energy, (n,): those that a prediction can be compared with."""
        return np.asarray(~np.isnan(self.energy_joules))

    @classmethod
    def of(
        cls,
        X: Any,
        y: ArrayLike | None,
        sample_weight: ArrayLike | None,
        unknown: Callable[[Table], Mapping[str, NDArray[np.bool_]]],
        *,
        seconds_alone: bool = False,
    ) -> Self:
        """Of n rows, anything that Table.of takes.

        Args:
            X: the rows.
            y: their energies in joules, (n,), instead of those that X carries.
            sample_weight: their weights, (n,).
            unknown: what a law cannot place, a mask (n,) by the reason.
            seconds_alone: whether rows that state seconds and no energy tell the law something.

        Raises:
            DataError: an energy or a weight that is not a finite number above 0; rows of several origins.
        """
        table = Table.of(X)
        energy = _column("y", table.energy_joules if y is None else y, len(table))
        weight = None if sample_weight is None else _column("sample_weight", sample_weight, len(table))
        timed = np.isnan(table.energy_joules) & (table.duration_seconds > 0) & (y is None and seconds_alone)
        reasons = {f"flagged {flags}": table.spoiled & (table.flags == flags) for flags in table.names("flags")}
        if y is None:  # what a table does not know is left out; what the caller states must be a number
            reasons["energy not known"] = np.isnan(energy) & ~timed
        reasons |= unknown(table)
        left_out: LeftOut = []
        kept = np.ones(len(table), dtype=np.bool_)
        for why, mask in reasons.items():
            numbers = table.number[mask & kept].tolist()
            kept &= ~mask
            if numbers:
                left_out.append({"what": "rows", "name": why, "why": why, "count": len(numbers), "numbers": numbers})
        bad = np.flatnonzero(kept & ~timed & ~((energy >= MIN_JOULES) & (energy <= MAX_JOULES)))
        if len(bad):
            row = int(bad[0])
            remedy = f"a finite number above 0, from {MIN_JOULES:g} to {MAX_JOULES:g}"
            raise DataError(f"row {table.number[row]}, energy_joules", float(energy[row]), remedy)
        if weight is not None and not (np.isfinite(weight).all() and (weight > 0).all()):
            raise DataError("sample_weight", float(weight.min()), "finite numbers above 0")
        used = table.take(kept)
        refuse_mixed_origin(Counter(used.origin.tolist()))
        return cls(used, energy[kept], None if weight is None else weight[kept], left_out)


def scope_of(table: Table) -> dict[str, Any]:
    """Count the rows that a fit rests on, for people and for ``rests_on``: {"origin", "models", "gpus", "precisions",
    "cells"}, where cells are "model on gpu" -> rows."""
    pairs = zip(table.model.tolist(), table.gpu.tolist(), strict=True)
    return {
        "origin": table.origin[0].item() if len(table) else "measured",
        "models": list(table.names("model")),
        "gpus": list(table.names("gpu")),
        "precisions": list(table.names("precision")),
        "cells": dict(sorted(Counter(f"{model} on {gpu}" for model, gpu in pairs).items())),
    }


def merged_scope(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the scopes of two fits into that of a fit to the rows of both."""
    pairs = Counter(one["cells"]) + Counter(other["cells"])
    names = {key: sorted({*one[key], *other[key]}) for key in ("models", "gpus", "precisions")}
    return {"origin": one["origin"], **names, "cells": dict(sorted(pairs.items()))}


def refuse_mixed_origin(counts: Mapping[str, int]) -> None:
    """Raise DataError for rows of several origins, by their counts: each is fitted alone."""
    if len(counts) > 1:
        origins = ", ".join(f"{count} {origin}" for origin, count in sorted(counts.items()))
        raise DataError("rows", origins, "rows of one origin; choose with --where origin=measured")


def _column(name: str, values: Any, n: int) -> Floats:
    """A number a row, (n,). DataError for anything else."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(name, type(values).__name__, f"{n} numbers, one a row") from None
    if array.ndim == 2 and array.shape[1] == 1:
        array = array.ravel()
    if array.shape != (n,):
        raise DataError(name, f"shape {array.shape}", f"({n},), one a row")
    return array
