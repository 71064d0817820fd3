"""What a fit has seen of prompts, steps and pixels: beyond it, Eq. 3 is an extrapolation, which is said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from analysis.table import Floats, Integers, Table
from farm.domain import Configuration

AXES: Final = ("prompts", "steps", "pixels")
Ranges = Mapping[str, Mapping[str, tuple[int, int]]]  # "model on gpu", "model" or "" (all) -> axis -> least, most


def widened(before: Ranges, table: Table) -> Ranges:
    """The ranges with these rows among them."""
    ranges = {key: dict(axes) for key, axes in before.items()}
    first, group = table.groups("model", "gpu")
    models, gpus = table.model[first].tolist(), table.gpu[first].tolist()
    for place, (model, gpu) in enumerate(zip(models, gpus, strict=True)):
        rows = group == place
        for axis in AXES:
            values = np.asarray(getattr(table, axis))[rows]
            for key in (f"{model} on {gpu}", model, ""):
                known = ranges.setdefault(key, {})
                low, high = known.get(axis, (int(values.min()), int(values.max())))
                known[axis] = (min(low, int(values.min())), max(high, int(values.max())))
    return ranges


def nearest(ranges: Ranges, model: str, gpu: str) -> Mapping[str, tuple[int, int]]:
    """The ranges of the pair, else of the model, else of all rows."""
    return next(ranges[key] for key in (f"{model} on {gpu}", model, "") if key in ranges)


def nearest_prompts(ranges: Ranges, table: Table) -> tuple[Integers, Floats]:
    """The number of prompts nearest to each row's that was fitted, and how often the row has as many. (n,) each."""
    first, group = table.groups("model", "gpu")
    pairs = zip(table.model[first].tolist(), table.gpu[first].tolist(), strict=True)
    bounds = np.array([nearest(ranges, *pair)["prompts"] for pair in pairs], dtype=np.int64).reshape(-1, 2)[group]
    fitted = np.clip(table.prompts, bounds[:, 0], bounds[:, 1])
    return fitted, table.prompts / fitted


def beyond(ranges: Ranges, row: Configuration) -> list[str]:
    """In words, what of a row lies outside of what was fitted."""
    known = nearest(ranges, row.model, row.gpu)
    words = []
    for axis in AXES:
        value, (low, high) = getattr(row, axis), known[axis]
        if low <= value <= high:
            continue
        limits = f"{low}" if low == high else f"{low} to {high}"
        how = f"scaled from {low if value < low else high}" if axis == "prompts" else "extrapolated"
        words.append(f"{value} {axis} where {limits} were fitted: {how}")
    if row.batch > 1:
        words.append(f"{row.batch} images at once: this law has no term for it")
    return words
