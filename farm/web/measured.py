"""What was measured, as it is drawn beside predictions: of an image, above idle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm import catalog
from farm.domain import Configuration

if TYPE_CHECKING:
    from analysis.table import Table
    from analysis.table.columns import Floats


def per_image(rows: Table) -> Floats:
    """Joules of an image above idle, (n,): of a row with idle in its energy, less what its board draws idle.

    NaN where the energy or the idle power is not known, or where nothing is left above it.
    """
    import numpy as np

    known = catalog.gpus()
    catalogued = np.array([known[name].idle_watts if name in known else np.nan for name in rows.gpu.tolist()])
    watts = np.where(rows.idle_watts > 0, rows.idle_watts, catalogued)
    idle = np.where(rows.includes_idle, watts * rows.duration_seconds, 0.0)
    joules = (rows.energy_joules - idle) / rows.prompts
    return np.where(joules > 0, joules, np.nan)


@dataclass(frozen=True, slots=True)
class Measured:
    """The mean of rows of one model on one GPU type."""

    joules: float  # of an image, as the next
    seconds: float | None
    rows: int


def at(rows: Table, c: Configuration) -> dict[tuple[str, str], Measured]:
    """What was measured at the settings of a configuration, by model and GPU type, less what is spoiled."""
    import numpy as np

    joules = per_image(rows)
    chosen = ~rows.spoiled & np.isfinite(joules)
    for name in ("width", "height", "steps", "precision", "cfg", "batch", "size", "frames"):
        chosen &= getattr(rows, name) == getattr(c, name)
    measured = rows.take(chosen)
    groups: dict[tuple[str, str], list[tuple[float, float]]] = {}
    seconds = measured.duration_seconds / measured.prompts
    pairs = zip(measured.model.tolist(), measured.gpu.tolist(), strict=True)
    for pair, energy, time in zip(pairs, joules[chosen].tolist(), seconds.tolist(), strict=True):
        groups.setdefault(pair, []).append((energy, time))
    means = {}
    for pair, values in groups.items():
        times = [time for _, time in values if time == time]
        mean = sum(times) / len(times) if times else None
        means[pair] = Measured(sum(energy for energy, _ in values) / len(values), mean, len(values))
    return means
