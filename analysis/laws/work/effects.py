"""Who shares what: the effects of the law ``work``, their prior spreads, and their place in one vector.

An effect belongs to a grouping of the rows (all of them, by family of models, model, GPU, pair of both, data set, which
is a laboratory, its host), to one group of it, and to one of the numbers that make a row's energy and seconds (LOCAL):
the coefficients of physics, a factor on the whole energy (``level``), the watts of idling in energies that include it
(``idle``). All priors are of logarithms, normal around 0, and state what is known of hardware and
laboratories before a row is seen:

- shared: how far the centre may be off on GPUs as a whole. What kernels reach is published within 10 to 20%, what a
  host needs for a launch within a quarter, the watts of waiting within a third.
- family and model: kernels suit shapes unequally well, and data change switching power: 10 to 15% together (input-
  dependent power of GPUs: arXiv 2409.18324). Models of one family run the same code, and share half of that variance,
  and most of what their code costs on the host. How far models really differ is learned: one factor on these spreads.
- gpu: a GPU is nearly one number, 15% before it has a row; its classes of work differ little beside it.
- dataset and host: laboratories differ by 4% in power limit, temperature and meter; launch and host time belong to the
  host, which is a laboratory's, maybe another one for each GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from analysis.laws.work.blocks import Basis
from analysis.laws.work.demand import CALL_COLUMNS
from analysis.laws.work.physics import COEFFICIENTS
from analysis.table import Floats, Integers, Table
from farm import catalog

LOCAL: Final = (*COEFFICIENTS, "level", "idle")
N: Final = len(COEFFICIENTS)
LEVEL: Final = LOCAL.index("level")
IDLE: Final = LOCAL.index("idle")
_PLACE: Final = {name: place for place, name in enumerate(LOCAL)}

_KIN: Final = {"matmul": 0.06, "attention": 0.10, "fp32": 0.04, "convolution": 0.06, "memory": 0.06, "wait": 0.05}
SPREADS: Final[Mapping[str, Mapping[str, float]]] = {
    "shared": {
        "matmul": 0.10, "attention": 0.20, "fp32": 0.15, "convolution": 0.20, "memory": 0.15, "wait": 0.30,
        "launch": 0.15, "host": 0.70, "pace": 0.12,
    },
    "family": {**_KIN, "launch": 0.30, "pace": 0.06},
    "model": {**_KIN, "launch": 0.15, "pace": 0.06},
    "gpu": {
        "matmul": 0.03, "attention": 0.08, "fp32": 0.08, "convolution": 0.05, "memory": 0.06, "wait": 0.20,
        "launch": 0.05, "pace": 0.08, "level": 0.08,
    },
    "architecture": {"level": 0.06},
    "pair": {"level": 0.03, "pace": 0.03},
    "dataset": {"level": 0.04, "launch": 0.21, "pace": 0.03},
    "host": {"level": 0.05, "launch": 0.21, "host": 0.50, "idle": 0.15, "pace": 0.05},
    "guess": {"level": 3.0, "pace": 3.0},  # a device whose figures are an order of magnitude (the host's processor)
}  # fmt: skip
# The places in LOCAL of the numbers that the effects of a grouping move.
_NUMBERS: Final = {grouping: [_PLACE[what] for what in spread] for grouping, spread in SPREADS.items()}
LEARNED: Final = ("family", "model")  # groupings whose spreads are learned together, as a factor on these
SHAPE_COLUMNS: Final = CALL_COLUMNS  # rows that agree in these are of one shape and share an effect of its own
SET_COLUMNS: Final = ("model", "gpu", "dataset")  # rows that agree in these belong to the same groups

Label = tuple[str, str, str]  # grouping, group, which of LOCAL


@dataclass(frozen=True)
class Effects:
    """The groups of the fitted rows by grouping, and the factor on the spreads of the groupings that are LEARNED."""

    groups: Mapping[str, tuple[str, ...]]
    scale: float = 1.0

    @classmethod
    def of(cls, *tables: Table) -> Self:
        """The groups that the rows of these tables belong to."""
        keys = [key for table in tables for key in _keys(table.take(table.groups(*SET_COLUMNS)[0]))]
        names = {
            grouping: {key[grouping] for key in keys if grouping in key} | _ALWAYS[grouping] for grouping in SPREADS
        }
        return cls({grouping: tuple(sorted(known)) for grouping, known in names.items()})

    def union(self, other: Effects) -> Effects:
        names = {grouping: tuple(sorted({*known, *other.groups[grouping]})) for grouping, known in self.groups.items()}
        return Effects(names, self.scale)

    def learned(self, scale: float) -> Effects:
        """The same with another factor on the spreads that are learned."""
        return Effects(self.groups, scale)

    @cached_property
    def labels(self) -> list[Label]:
        """Of each place of the vector."""
        return [
            (grouping, name, what)
            for grouping, spread in SPREADS.items()
            for name in self.groups[grouping]
            for what in spread
        ]

    @cached_property
    def std(self) -> Floats:
        """Prior spread of the vector, (P,)."""
        return np.array([_spread(grouping, what, self.scale) for grouping, _, what in self.labels])

    @cached_property
    def scales(self) -> NDArray[np.bool_]:
        """Which spreads of the vector are learned, (P,)."""
        return np.array([grouping in LEARNED for grouping, _, _ in self.labels], dtype=np.bool_)

    def sets(self, table: Table) -> tuple[Sets, Integers]:
        """The sets of rows that belong to the same groups, and the set of every row (n,)."""
        first, group = table.groups(*SET_COLUMNS)
        keys = _keys(table.take(first))
        entries: list[tuple[int, int, int]] = []
        unseen = np.zeros((len(keys), len(LOCAL)))
        for place, key in enumerate(keys):
            for grouping, name in key.items():
                start = self._start.get((grouping, name))
                if start is None:
                    for what in SPREADS[grouping]:
                        unseen[place, _PLACE[what]] += _spread(grouping, what, self.scale) ** 2
                else:
                    entries += [(place, number, start + offset) for offset, number in enumerate(_NUMBERS[grouping])]
        columns = np.array(entries, dtype=np.int64).reshape(-1, 3).T
        return Sets(Basis((len(keys), len(LOCAL), len(self.labels)), *columns), unseen), group

    @cached_property
    def _start(self) -> dict[tuple[str, str], int]:
        """Where the numbers of each group begin."""
        starts: dict[tuple[str, str], int] = {}
        for place, (grouping, name, _) in enumerate(self.labels):
            starts.setdefault((grouping, name), place)
        return starts

    def to_json(self) -> dict[str, Any]:
        return {"scale": self.scale, "groups": {grouping: list(names) for grouping, names in self.groups.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls({grouping: tuple(data["groups"][grouping]) for grouping in SPREADS}, float(data["scale"]))


@dataclass(frozen=True, slots=True)
class Sets:
    """Of G sets of rows: which effects of the vector make the numbers of LOCAL, (G, 11, P); their prior variance from
    groups that no fitted row belongs to, (G, 11)."""

    basis: Basis
    unseen: Floats

    def covariance(self, of_effects: Floats) -> Floats:
        """Of the numbers of LOCAL, (G, 11, 11), by that of the effects (P, P)."""
        return np.asarray(self.basis.covariance(of_effects) + self.unseen[:, :, None] * np.eye(len(LOCAL)))


_ALL: Final = "all"
_ALWAYS: Final[Mapping[str, set[str]]] = {**{grouping: set() for grouping in SPREADS}, "shared": {_ALL}}


def _spread(grouping: str, what: str, scale: float) -> float:
    return SPREADS[grouping][what] * (scale if grouping in LEARNED else 1.0)


def _keys(table: Table) -> Sequence[dict[str, str]]:
    """Of every row the name of its group, by grouping; a grouping that it has no group of is not there."""
    rows = zip(table.model.tolist(), table.gpu.tolist(), table.dataset.tolist(), strict=True)
    return [_key(model, gpu, dataset) for model, gpu, dataset in rows]


def _key(model: str, gpu: str, dataset: str) -> dict[str, str]:
    key = {
        "shared": _ALL,
        "family": catalog.build(model).family,
        "model": model,
        "gpu": gpu,
        "pair": f"{model} on {gpu}",
        "dataset": dataset,
        "host": f"{dataset} on {gpu}",
    }
    board = catalog.gpu(gpu)
    return key | ({"guess": gpu} if board.is_processor else {"architecture": str(board.architecture)})
