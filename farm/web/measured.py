"""What was measured, as it is drawn beside predictions: of an image, above idle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm import catalog
from farm.domain import Configuration

if TYPE_CHECKING:
    from analysis.table import Table


def per_image(rows: Table) -> list[float]:
    """Joules above idle of an image; of a row with idle in its energy, less what the board draws idle."""
    import numpy as np

    watts = np.array([catalog.gpu(name).idle_watts if name in catalog.gpus() else 0.0 for name in rows.gpu.tolist()])
    watts = np.where(np.isfinite(rows.idle_watts), rows.idle_watts, watts)
    seconds = np.where(np.isfinite(rows.duration_seconds), rows.duration_seconds, 0.0)
    idle = np.where(rows.includes_idle, watts * seconds, 0.0)
    made: list[float] = ((rows.energy_joules - idle) / rows.prompts).tolist()
    return made


@dataclass(frozen=True, slots=True)
class Measured:
    """The mean of rows of one model on one GPU type."""

    joules: float  # of an image, as the next
    seconds: float | None
    rows: int


def at(rows: Table, c: Configuration) -> dict[tuple[str, str], Measured]:
    """What was measured at the settings of a configuration, by model and GPU type, less what is spoiled."""
    import numpy as np

    same = ~rows.spoiled & np.isfinite(rows.energy_joules)
    for name in ("width", "height", "steps", "precision", "cfg", "batch", "size", "frames"):
        same &= getattr(rows, name) == getattr(c, name)
    there = rows.take(same)
    groups: dict[tuple[str, str], list[tuple[float, float]]] = {}
    seconds = (there.duration_seconds / there.prompts).tolist()
    pairs = zip(there.model.tolist(), there.gpu.tolist(), strict=True)
    for pair, joules, time in zip(pairs, per_image(there), seconds, strict=True):
        groups.setdefault(pair, []).append((joules, time))
    found = {}
    for pair, values in groups.items():
        times = [time for _, time in values if time == time]
        mean = sum(times) / len(times) if times else None
        found[pair] = Measured(sum(joules for joules, _ in values) / len(values), mean, len(values))
    return found
