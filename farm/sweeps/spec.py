"""A checked sweep, and the order in which its jobs are to run."""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any, Final

from farm.domain import Configuration
from farm.sweeps.axes import AXES, Axes

BLOCK: Final = ("model", "precision", "size", "weights")  # the axes of Configuration.pipeline


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepSpec:
    """A checked request. Names of models and GPUs are in the catalog, values within the bounds of a configuration."""

    name: str
    axes: Axes  # by row key: model, gpu, resolution (pairs), steps, ...
    include: tuple[Axes, ...]  # small grids of their own
    exclude: tuple[Axes, ...]
    replicates: int
    seed: int  # of the configurations, and of the order inside a block
    prompts_file: Path | None
    deadline: datetime | None  # UTC
    budget_joules: float | None

    def jobs(self) -> Iterator[tuple[Configuration, int]]:
        """Every configuration with its replicate, in the order in which they are to run, one at a time.

        Jobs of one model, precision, size and weights follow each other, so that a loaded pipeline stays; inside such
        a block they are shuffled, so that drift of the device does not line up with an axis. Replicates follow in
        rounds.
        """
        included = dict.fromkeys(c for grid in self.include for c in self._points(grid, Random(self.seed)))
        extra: dict[tuple[Any, ...], list[Configuration]] = {}
        for configuration in included:
            extra.setdefault(configuration.pipeline, []).append(configuration)
        for block in itertools.product(*(self.axes[name] for name in BLOCK)):
            grid = self.axes | {name: (value,) for name, value in zip(BLOCK, block, strict=True)}
            more = extra.pop(block, [])
            for replicate in range(self.replicates):
                order = Random(f"{self.seed} {block} {replicate}")
                yield from ((c, replicate) for c in self._mixed(grid, more, included, order))
        for block, more in extra.items():
            for replicate in range(self.replicates):
                Random(f"{self.seed} {block} {replicate}").shuffle(more)
                yield from ((c, replicate) for c in more)

    def _mixed(
        self, grid: Axes, more: list[Configuration], included: Mapping[Configuration, None], order: Random
    ) -> Iterator[Configuration]:
        """The block's points in random order, those of `include` scattered among them."""
        points = (c for c in self._points(grid, order) if c not in included and not self._excluded(c))
        places = sorted(((order.random(), c) for c in more), reverse=True)
        total = math.prod(len(values) for values in grid.values())
        for number, point in enumerate(points):
            while places and places[-1][0] * total <= number:
                yield places.pop()[1]
            yield point
        yield from (c for _, c in reversed(places))

    def _points(self, grid: Axes, order: Random) -> Iterator[Configuration]:
        """The product of the axes, shuffled, without ever holding more than its indices."""
        names, axes = tuple(grid), tuple(grid.values())
        indices = array("L", range(math.prod(len(values) for values in axes)))
        order.shuffle(indices)
        for index in indices:
            point: dict[str, Any] = {}
            for name, values in zip(names, axes, strict=True):
                index, place = divmod(index, len(values))
                point[name] = values[place]
            point["width"], point["height"] = point.pop("resolution")
            yield Configuration(seed=self.seed, **point)

    def _excluded(self, configuration: Configuration) -> bool:
        return any(_matches(configuration, row) for row in self.exclude)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, every default filled in."""
        return {
            "name": self.name,
            **{key: list(self.axes[row]) for key, row, _ in AXES},
            "replicates": self.replicates,
            "seed": self.seed,
            "prompts_file": str(self.prompts_file) if self.prompts_file else None,
            "include": [{k: list(v) for k, v in row.items()} for row in self.include],
            "exclude": [{k: list(v) for k, v in row.items()} for row in self.exclude],
            "deadline": self.deadline.isoformat() if self.deadline else None,
            "budget_joules": self.budget_joules,
        }


def _matches(configuration: Configuration, row: Axes) -> bool:
    for name, values in row.items():
        value = (configuration.width, configuration.height) if name == "resolution" else getattr(configuration, name)
        if value not in values:
            return False
    return True
