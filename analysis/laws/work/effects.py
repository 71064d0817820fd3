"""Who shares what: the effects of the law ``work``, their prior spreads, and their place in one vector.

Every family of models, every model and every GPU has its own factor on each coefficient, near 1; every GPU (as a
``board``), every pair of model and GPU and every data set has one on the whole. All priors are of logarithms, and state
what is known of hardware and laboratories; docs/laws.md says which of them were revised after a look at the data:

- shared: how far the centre may be off on GPUs as a whole. What kernels reach is published within 10 to 20%, the watts
  of streaming memory more closely, what a host needs for a launch within a third.
- family and model: kernels suit shapes unequally well, and data change switching power: 10 to 15% together (input-
  dependent power of GPUs: arXiv 2409.18324). Models of one family run the same code, and share half of that variance.
- GPU and board: boards of a type differ by 5%, published figures and real ones by more: 10 to 20% in all.
- data set: laboratories differ by 4% in power limit, temperature and meter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

import numpy as np

from analysis.laws.work.physics import COEFFICIENTS
from analysis.laws.work.roofline import CALL_COLUMNS
from analysis.table import Floats, Integers, Table
from farm import catalog

N: Final = len(COEFFICIENTS)
_KIN: Final = np.array([0.10, 0.15, 0.06, 0.10, 0.10, 0.10, 0.15, 0.30]) / np.sqrt(2)
# Of each coefficient:   matmul attention fp32 convolution memory wait launch host
SPREADS: Final[Mapping[str, Floats]] = {
    "shared": np.array([0.15, 0.20, 0.15, 0.20, 0.08, 0.40, 0.30, 0.70]),
    "family": _KIN,
    "model": _KIN,
    "gpu": np.array([0.12, 0.20, 0.20, 0.20, 0.12, 0.30, 0.10, 0.30]),
}
# Of the whole. guess: a device whose figures in the catalog are an order of magnitude (the host's processor).
LEVELS: Final[Mapping[str, float]] = {"board": 0.08, "pair": 0.03, "dataset": 0.04, "guess": 3.0}
CELL_COLUMNS: Final = CALL_COLUMNS  # rows that agree in these share an effect of their own, a cell's

# Kind of group -> place (n,) of each row's group among the known ones, or one of:
Members = Mapping[str, Integers]
STRANGE: Final = -1  # a group that no fitted row belongs to
NONE: Final = -2  # the row belongs to no group of this kind


@dataclass(frozen=True)
class Effects:
    """The known groups by kind. The vector holds 8 numbers for each of the kinds of SPREADS, 1 of LEVELS."""

    groups: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, *tables: Table) -> Self:
        """The groups that the rows of these tables belong to."""
        keys = [_keys(table.take(_distinct(table)[0])) for table in tables]
        names = {kind: {n for k in keys for n in k[kind] if n is not None} | _ALWAYS[kind] for kind in _ALWAYS}
        return cls({kind: tuple(sorted(known)) for kind, known in names.items()})

    def union(self, other: Effects) -> Effects:
        return Effects({kind: tuple(sorted({*names, *other.groups[kind]})) for kind, names in self.groups.items()})

    def members(self, table: Table) -> Members:
        first, group = _distinct(table)
        keys = _keys(table.take(first))
        return {kind: _places(keys[kind], names)[group] for kind, names in self.groups.items()}

    @cached_property
    def std(self) -> Floats:
        """Prior spread of the vector, (P,)."""
        parts = [np.tile(SPREADS[kind], len(self.groups[kind])) for kind in SPREADS]
        return np.concatenate([*parts, *(np.full(len(self.groups[kind]), LEVELS[kind]) for kind in LEVELS)])

    @cached_property
    def labels(self) -> list[tuple[str, str, str]]:
        """Of each place of the vector: kind, group, coefficient (empty for a factor on the whole)."""
        named = [(kind, name, c) for kind in SPREADS for name in self.groups[kind] for c in COEFFICIENTS]
        return named + [(kind, name, "") for kind in LEVELS for name in self.groups[kind]]

    def coefficients(self, p: Floats, members: Members) -> Floats:
        """Logarithms of each row's coefficients, (n, 8)."""
        total = np.zeros((len(members["shared"]), N))
        for kind in SPREADS:
            if self.groups[kind]:
                factors = p[self._start[kind] :][: N * len(self.groups[kind])].reshape(-1, N)
                total += np.where(members[kind][:, None] >= 0, factors[np.maximum(members[kind], 0)], 0.0)
        return total

    def level(self, p: Floats, members: Members) -> Floats:
        """Logarithm of each row's factor on the whole, (n,)."""
        total = np.zeros(len(members["shared"]))
        for kind in LEVELS:
            if self.groups[kind]:
                factors = p[self._start[kind] :][: len(self.groups[kind])]
                total += np.where(members[kind] >= 0, factors[np.maximum(members[kind], 0)], 0.0)
        return total

    def jacobian(self, slope: Floats, members: Members) -> Floats:
        """Derivatives of ln E by the whole vector, (n, P); ``slope`` (n, 8) are those by the row's own coefficients."""
        result = np.zeros((len(slope), len(self.std)))
        for kind in (*SPREADS, *LEVELS):
            there = np.flatnonzero(members[kind] >= 0)
            width = N if kind in SPREADS else 1
            columns = self._start[kind] + width * members[kind][there, None] + np.arange(width)
            result[there[:, None], columns] = slope[there] if kind in SPREADS else 1.0
        return result

    def basis(self, members: Members) -> Floats:
        """(G, 9 + D, P) for the rows of G groups that agree in all but their data set: how the vector moves ln E by
        the 8 coefficients, on the whole, and in each of D data sets; ``members`` are of one row each."""
        n = len(members["shared"])
        bare = {**members, "dataset": np.full(n, NONE)}
        whole = self.jacobian(np.zeros((n, N)), bare)
        slopes = [self.jacobian(np.broadcast_to(unit, (n, N)), bare) - whole for unit in np.eye(N)]
        datasets = np.zeros((len(self.groups["dataset"]), n, len(self.std)))
        for place, moved in enumerate(datasets):
            moved[:, self._start["dataset"] + place] = 1.0
        return np.stack([*slopes, whole, *datasets], axis=1)

    def local(self, slope: Floats, dataset: Integers) -> Floats:
        """The rows (n, 9 + D) that ``basis`` turns into those of the Jacobian; ``dataset`` (n,): each row's place."""
        return np.column_stack([slope, np.ones(len(slope)), dataset[:, None] == np.arange(len(self.groups["dataset"]))])

    def strange_variance(self, slope: Floats, members: Members) -> Floats:
        """Variance of ln E from groups of the row that are not known, (n,)."""
        variance = np.zeros(len(slope))
        for kind, spread in SPREADS.items():
            variance += np.where(members[kind] == STRANGE, slope**2 @ spread**2, 0.0)
        for kind, width in LEVELS.items():
            variance += np.where(members[kind] == STRANGE, width**2, 0.0)
        return variance

    @cached_property
    def _start(self) -> dict[str, int]:
        """Where the numbers of each kind begin."""
        sizes = [N * len(self.groups[kind]) for kind in SPREADS] + [len(self.groups[kind]) for kind in LEVELS]
        return dict(zip((*SPREADS, *LEVELS), np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))

    def to_json(self) -> dict[str, list[str]]:
        return {kind: list(names) for kind, names in self.groups.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls({kind: tuple(data[kind]) for kind in _ALWAYS})


_ALL: Final = "all"
_ALWAYS: Final[Mapping[str, set[str]]] = {**{kind: set() for kind in (*SPREADS, *LEVELS)}, "shared": {_ALL}}


def _distinct(table: Table) -> tuple[Integers, Integers]:
    """A row of each set of rows that belong to the same groups, and the set of every row."""
    return table.groups("model", "gpu", "dataset")


def _keys(table: Table) -> dict[str, list[str | None]]:
    """Of every row the name of its group, by kind."""
    models, gpus = table.model.tolist(), table.gpu.tolist()
    guessed = {name for name in set(gpus) if catalog.gpu(name).is_processor}
    return {
        "shared": [_ALL] * len(table),
        "family": [catalog.build(name).family for name in models],
        "model": models,
        "gpu": gpus,
        "board": gpus,
        "pair": [f"{model} on {gpu}" for model, gpu in zip(models, gpus, strict=True)],
        "dataset": table.dataset.tolist(),
        "guess": [name if name in guessed else None for name in gpus],
    }


def _places(keys: list[str | None], known: tuple[str, ...]) -> Integers:
    place: dict[str | None, int] = {None: NONE, **{name: i for i, name in enumerate(known)}}
    return np.array([place.get(key, STRANGE) for key in keys], dtype=np.int64)
