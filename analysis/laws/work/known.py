"""Which groups of equal noise and which shapes a fit has: what it keeps to know them again in rows to predict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from analysis.laws.work.effects import SHAPE_COLUMNS
from analysis.laws.work.hierarchy import Layout, Spread
from analysis.table import Integers, Table

_JOULES, _SECONDS = "joules", "seconds"  # what an observation is of

ShapeKey = tuple[Any, ...]  # the values of SHAPE_COLUMNS, and the data set where it is said


@dataclass(frozen=True, slots=True)
class Known:
    """The groups of equal noise and the shapes of a fit, by their names: what a fit keeps to find them again.

    ``noise_groups``: (joules or seconds, model, data set) of each. ``spread_groups``: (joules or seconds, model).
    ``of_joules``: the columns of each shape of energies, its data set last, in the order of the shapes; ``of_seconds``
    those of the shapes of seconds, which come after them.
    """

    noise_groups: tuple[tuple[str, str, str], ...]
    spread_groups: tuple[tuple[str, str], ...]
    of_joules: tuple[ShapeKey, ...]
    of_seconds: tuple[ShapeKey, ...]

    @classmethod
    def of(
        cls,
        shape_rows: Table,
        distinct: Table,
        alike: Integers,
        shapes: tuple[Integers, Integers],
        timed_shapes: Integers,
        has_time: Integers,
    ) -> tuple[Self, Layout]:
        """Of a fit's shapes (one row of each) and configurations, the former of energies first, then of seconds."""
        groups = [(_JOULES, *pair) for pair in _pairs(distinct)]
        groups += [(_SECONDS, *pair) for pair in _pairs(distinct.take(has_time))]
        noise_groups, noise = _numbered(groups)
        models = shape_rows.model.tolist()
        spread_groups, of_shape = _numbered(
            [(_JOULES, model) for model in models] + [(_SECONDS, models[place]) for place in timed_shapes.tolist()]
        )
        keys = tuple(_shape_keys(shape_rows, "dataset"))
        timed = tuple(keys[shape] for shape in timed_shapes.tolist())
        shape = np.concatenate([shapes[0], len(keys) + shapes[1]])
        return cls(noise_groups, spread_groups, keys, timed), Layout(alike, noise[alike], shape, of_shape)

    def shapes(self, table: Table) -> tuple[Integers, Integers]:
        """The places of each row's shapes, of energies and of seconds, -1 for a new one, (n,) each. A shape that no row
        of the row's own data set is in is looked for in others: kernels are chosen by shape, whoever runs them."""
        places = np.full((len(table), 2), -1, dtype=np.int64)
        known = self._by_dataset()
        datasets = table.labels("dataset")
        for row, key in enumerate(_shape_keys(table)) if known else ():
            by_dataset = known.get(key)
            if by_dataset is not None:
                name = datasets.names[datasets.codes[row]]
                places[row] = by_dataset.get(name) or next(iter(by_dataset.values()))
        return places[:, 0], places[:, 1]

    def _by_dataset(self) -> dict[ShapeKey, dict[str, tuple[int, int]]]:
        """Of each shape by its columns and its data set: the places of its energies and of its seconds, -1 for none."""
        timed = {key: len(self.of_joules) + place for place, key in enumerate(self.of_seconds)}
        known: dict[ShapeKey, dict[str, tuple[int, int]]] = {}
        for place, key in enumerate(self.of_joules):
            known.setdefault(key[:-1], {})[str(key[-1])] = (place, timed.get(key, -1))
        return known

    def noise(self, sigma: Spread) -> dict[str, tuple[float, float]]:
        """By model the noise of its energies, over its data sets, and how many rows it has."""
        return _by_model([(of, model) for of, model, _ in self.noise_groups], sigma)

    def shape_spread(self, tau: Spread) -> dict[str, float]:
        """By model the spread of its shapes' energies."""
        return {model: spread for model, (spread, _) in _by_model(self.spread_groups, tau).items()}

    def pooled(self, sigma: Spread) -> float:
        """Noise of energies over all rows."""
        return _pooled([of for of, _, _ in self.noise_groups], sigma)

    def pooled_shapes(self, tau: Spread) -> float:
        """Spread of energies over all shapes."""
        return _pooled([of for of, _ in self.spread_groups], tau)

    def to_json(self) -> dict[str, Any]:
        return {name: [list(key) for key in getattr(self, name)] for name in _FIELDS}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{name: tuple(tuple(key) for key in data[name]) for name in _FIELDS})


_FIELDS: Final = ("noise_groups", "spread_groups", "of_joules", "of_seconds")  # of Known


def _pairs(table: Table) -> Iterable[tuple[str, str]]:
    return zip(table.model.tolist(), table.dataset.tolist(), strict=True)


def _numbered(keys: list[Any]) -> tuple[tuple[Any, ...], Integers]:
    """The distinct keys in the order in which they came, and the number of each."""
    places: dict[Any, int] = {}
    numbers = [places.setdefault(key, len(places)) for key in keys]
    return tuple(places), np.array(numbers, dtype=np.int64)


def _by_model(groups: Iterable[tuple[str, str]], spread: Spread) -> dict[str, tuple[float, float]]:
    """By model the root mean square of its groups of energies, by their counts, and the sum of those."""
    sums: dict[str, tuple[float, float]] = {}
    for (of, model), of_group, count in zip(groups, spread.of_group.tolist(), spread.count.tolist(), strict=True):
        if of == _JOULES:
            squares, rows = sums.get(model, (0.0, 0.0))
            sums[model] = (squares + count * of_group**2, rows + count)
    return {model: (float(np.sqrt(squares / rows)), rows) for model, (squares, rows) in sums.items() if rows}


def _pooled(observed: list[str], spread: Spread) -> float:
    energies = np.array([of == _JOULES for of in observed], dtype=np.bool_)
    return Spread(spread.of_group[energies], spread.common, spread.count[energies]).pooled


def _shape_keys(table: Table, *more: str) -> list[ShapeKey]:
    columns = (np.asarray(getattr(table, name)).tolist() for name in (*SHAPE_COLUMNS, *more))
    return list(zip(*columns, strict=True))
