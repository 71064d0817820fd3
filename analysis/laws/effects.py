"""Who shares what: the effects of the law ``work``, their prior spreads, and their place in one vector.

Every model and every GPU has its own factor on each coefficient, near 1; every pair of the two and every data set has
one on the whole. All priors are of logarithms. They are set once, from what is known of
hardware and laboratories, not from the data that the law is tested on:

- shared: how far the centre may be off on GPUs as a whole. What kernels reach is published within 10 to 15%, what a
  host needs for a launch varies by half.
- model: kernels suit shapes unequally well, and what data do to switching power: 5 to 10% (arXiv 2409.18324).
- GPU: boards of a type differ by 5%, published figures and real ones by more.
- data set: laboratories differ by 4% in power limit, temperature and meter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np

from analysis.laws.physics import COEFFICIENTS
from analysis.table import Floats, Integers, Table

N: Final = len(COEFFICIENTS)
#                    matmul attention fp32 convolution memory wait launch host
SHARED: Final = np.array([0.15, 0.20, 0.15, 0.20, 0.20, 0.40, 0.40, 0.70])
MODEL: Final = np.array([0.08, 0.10, 0.06, 0.08, 0.10, 0.10, 0.25, 0.30])
GPU: Final = np.array([0.12, 0.20, 0.20, 0.20, 0.20, 0.30, 0.20, 0.30])
PAIR: Final = 0.03
DATASET: Final = 0.04
CELL_COLUMNS: Final = ("model", "gpu", "precision", "cfg", "width", "height", "batch")


@dataclass(frozen=True, slots=True)
class Members:
    """For n rows, the place of each one's groups among the known ones; -1 where there is none."""

    model: Integers
    gpu: Integers
    pair: Integers
    dataset: Integers


@dataclass(frozen=True)
class Effects:
    """The known groups. The vector: shared (8), models (8 each), GPUs (8 each), pairs, data sets."""

    models: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    std: Floats = field(init=False)  # (P,) prior spread

    def __post_init__(self) -> None:
        parts = [SHARED, *[MODEL] * len(self.models), *[GPU] * len(self.gpus)]
        parts += [np.full(len(self.pairs), PAIR), np.full(len(self.datasets), DATASET)]
        object.__setattr__(self, "std", np.concatenate(parts))

    @classmethod
    def of(cls, *tables: Table) -> Self:
        """The groups that the rows of these tables belong to."""
        keys = [_keys(table.take(table.groups("model", "gpu", "dataset")[0])) for table in tables]
        return cls(*(tuple(sorted({n for k in keys for n in k[name]})) for name in _GROUPS))

    def union(self, other: Effects) -> Effects:
        return Effects(*(tuple(sorted({*self.names[name], *other.names[name]})) for name in _GROUPS))

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        return {name: getattr(self, f"{name}s") for name in _GROUPS}

    def members(self, table: Table) -> Members:
        first, group = table.groups("model", "gpu", "dataset")
        keys = _keys(table.take(first))
        return Members(*(_places(keys[name], self.names[name])[group] for name in _GROUPS))

    def coefficients(self, p: Floats, members: Members) -> Floats:
        """Logarithms of each row's coefficients, (n, 8)."""
        shared, models, gpus, _ = self._split(p)
        result: Floats = shared + _pick(models, members.model) + _pick(gpus, members.gpu)
        return result

    def level(self, p: Floats, members: Members) -> Floats:
        """Logarithm of each row's factor on the whole, (n,)."""
        *_, rest = self._split(p)
        level = np.zeros(len(members.model))
        for places, offset in self._levels(members):
            level += np.where(places >= 0, rest[np.minimum(offset + places, len(rest) - 1)] if len(rest) else 0.0, 0.0)
        return level

    def jacobian(self, slope: Floats, members: Members) -> Floats:
        """Derivatives of ln E by the whole vector, (n, P); ``slope`` (n, 8) are those by the row's own coefficients."""
        n, rows = len(slope), np.arange(len(slope))
        result = np.zeros((n, len(self.std)))
        result[:, :N] = slope
        for places, offset in ((members.model, N), (members.gpu, N * (1 + len(self.models)))):
            there = places >= 0
            columns = offset + N * places[there, None] + np.arange(N)
            result[rows[there, None], columns] = slope[there]
        first = N * (1 + len(self.models) + len(self.gpus))
        for places, offset in self._levels(members):
            there = places >= 0
            result[rows[there], first + offset + places[there]] = 1.0
        return result

    def strange_variance(self, slope: Floats, members: Members) -> Floats:
        """Variance of ln E from groups of the row that are not known, (n,)."""
        variance = np.where(members.model < 0, slope**2 @ MODEL**2, 0.0)
        variance += np.where(members.gpu < 0, slope**2 @ GPU**2, 0.0)
        variance += np.where(members.pair < 0, PAIR**2, 0.0)
        variance += np.where(members.dataset < 0, DATASET**2, 0.0)
        result: Floats = variance
        return result

    def labels(self) -> list[str]:
        """A name for each place of the vector."""
        names = [f"shared:{c}" for c in COEFFICIENTS]
        names += [f"model:{m}:{c}" for m in self.models for c in COEFFICIENTS]
        names += [f"gpu:{g}:{c}" for g in self.gpus for c in COEFFICIENTS]
        return names + [f"{kind}:{name}" for kind in ("pair", "dataset") for name in self.names[kind]]

    def to_json(self) -> dict[str, list[str]]:
        return {name: list(values) for name, values in self.names.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(*(tuple(data[name]) for name in _GROUPS))

    def _split(self, p: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        a, b = N * (1 + len(self.models)), N * (1 + len(self.models) + len(self.gpus))
        return p[:N], p[N:a].reshape(-1, N), p[a:b].reshape(-1, N), p[b:]

    def _levels(self, members: Members) -> Iterable[tuple[Integers, int]]:
        return (members.pair, 0), (members.dataset, len(self.pairs))


_GROUPS: Final = ("model", "gpu", "pair", "dataset")


def _keys(table: Table) -> dict[str, list[str]]:
    """Of every row the name of its group, empty for none."""
    models, gpus = table.model.tolist(), table.gpu.tolist()
    return {
        "model": models,
        "gpu": gpus,
        "pair": [f"{m} on {g}" for m, g in zip(models, gpus, strict=True)],
        "dataset": [f"dataset {d}".strip() for d in table.dataset.tolist()],
    }


def _places(keys: list[str], known: tuple[str, ...]) -> Integers:
    place = {name: i for i, name in enumerate(known)}
    return np.array([place.get(key, -1) for key in keys], dtype=np.int64)


def _pick(rows: Floats, places: Integers) -> Floats:
    if not len(rows):
        return np.zeros((len(places), N))
    return np.where(places[:, None] >= 0, rows[np.maximum(places, 0)], 0.0)
