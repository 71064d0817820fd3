"""A sweep as someone writes it: YAML in, a checked :class:`SweepSpec` out, the grid counted before it is expanded."""

from __future__ import annotations

import difflib
import itertools
import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

from farm import catalog
from farm.domain import Configuration, RequestError
from farm.domain.configuration import parse_switch, parse_whole
from farm.yamlfile import read_yaml

MAX_JOBS: Final = 10_000_000
MAX_REPLICATES: Final = 1000

# An axis of the grid: its key in the file, its key in a row of include or exclude, its default.
AXES: Final[tuple[tuple[str, str, tuple[Any, ...] | None], ...]] = (
    ("models", "model", None),
    ("gpus", "gpu", None),
    ("resolutions", "resolution", (256, 512, 768, 1024)),
    ("steps", "steps", (10, 20, 30, 40, 50)),
    ("precisions", "precision", ("fp16", "fp32")),
    ("cfg", "cfg", (False, True)),
    ("prompts", "prompts", (25, 50, 100)),
    ("batch", "batch", (1,)),
    ("weights", "weights", ("random",)),
    ("size", "size", ("full",)),
)
SETTINGS: Final = ("name", "replicates", "seed", "prompts_file", "include", "exclude", "deadline", "budget_joules")
BLOCK: Final = ("model", "precision", "size", "weights")  # what a worker keeps loaded

Resolution = tuple[int, int]
Axes = dict[str, tuple[Any, ...]]


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
            extra.setdefault(_block(configuration), []).append(configuration)
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


def read_spec(path: str | Path) -> SweepSpec:
    """Read and check a sweep file. RequestError, one line, for whatever is wrong with it."""
    document = read_yaml(path)
    if not isinstance(document, dict):
        raise RequestError("sweep", str(path), "a mapping of keys such as models and gpus to values")
    return parse_spec(document, folder=Path(path).parent, default_name=Path(path).stem)


def parse_spec(document: Mapping[Any, Any], *, folder: Path, default_name: str = "sweep") -> SweepSpec:
    """Check a sweep. Paths in it are relative to ``folder``."""
    known = [key for key, _, _ in AXES] + list(SETTINGS)
    for key in document:
        if key not in known:
            _unknown_key("sweep", key, known)
    axes = {row: _axis(key, document.get(key), row, default) for key, row, default in AXES}
    spec = SweepSpec(
        name=_name(document.get("name"), default_name),
        axes=axes,
        include=tuple(_include(f"include[{i}]", row, axes) for i, row in enumerate(_rows(document, "include"))),
        exclude=tuple(_grid(f"exclude[{i}]", row) for i, row in enumerate(_rows(document, "exclude"))),
        replicates=_bounded("replicates", document.get("replicates", 1), 1, MAX_REPLICATES),
        seed=_bounded("seed", document.get("seed", 0), 0, 2**63 - 1),
        prompts_file=_path(document.get("prompts_file"), folder),
        deadline=_deadline(document.get("deadline")),
        budget_joules=_budget(document.get("budget_joules")),
    )
    grids = (spec.axes, *spec.include)
    size = sum(math.prod(len(values) for values in grid.values()) for grid in grids) * spec.replicates
    if size > MAX_JOBS:
        raise RequestError("sweep", f"{size:,} jobs", f"at most {MAX_JOBS:,} in one sweep")
    for grid in grids:
        _check_resolutions(grid)
    return spec


def _axis(key: str, value: Any, row: str, default: tuple[Any, ...] | None) -> tuple[Any, ...]:
    if value is None:
        if default is None:
            raise RequestError(key, value, "required: a list of names from the catalog")
        value = list(default)
    # `resolutions: [512, 768]` are two squares, `resolution: [512, 768]` in a row is one pair.
    pair = key.endswith("resolution") and isinstance(value, list) and all(_is_number(v) for v in value)
    values = value if isinstance(value, list) and not pair else [value]
    if not values:
        raise RequestError(key, value, "at least one value (leave the key out for its default)")
    return tuple(dict.fromkeys(_value(key, row, v) for v in values))


def _value(key: str, row: str, value: Any) -> Any:
    """One value of an axis, checked by the rules of a configuration and against the catalog."""
    if row == "resolution":
        return _resolution(key, value)
    if row in ("model", "gpu"):
        if not isinstance(value, str):
            raise RequestError(key, value, "a name from the catalog")
        (catalog.model if row == "model" else catalog.gpu)(value)
        return value
    if row == "cfg":
        return parse_switch(key, value)
    if row in ("steps", "prompts", "batch"):
        value = parse_whole(key, value)
    probe = {**_PROBE, row: value}
    if row == "batch" and isinstance(value, int):
        probe["prompts"] = max(value, 1)
    Configuration(**probe)
    return value


_PROBE: Final[dict[str, Any]] = {
    "model": "probe", "gpu": "probe", "width": 512, "height": 512, "steps": 1, "precision": "fp16", "cfg": False,
    "prompts": 1,
}  # fmt: skip


def _resolution(key: str, value: Any) -> Resolution:
    sides = value if isinstance(value, (list, tuple)) else [value, value]
    if len(sides) != 2:
        raise RequestError(key, value, "a side in pixels, or [width, height]")
    width, height = (parse_whole(key, side) for side in sides)
    Configuration(**{**_PROBE, "width": width, "height": height})
    return width, height


def _rows(document: Mapping[Any, Any], key: str) -> list[Any]:
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise RequestError(key, value, "a list of rows such as {model: sd2, gpu: a100}")
    return value


def _grid(where: str, row: Any) -> Axes:
    """A row of include or exclude as small axes; keys may be those of a row or of the sweep."""
    if not isinstance(row, dict) or not row:
        raise RequestError(where, row, "a row such as {model: sd2, gpu: a100}")
    names = {key: name for plural, name, _ in AXES for key in (plural, name)}
    grid: Axes = {}
    sides = {}
    for key, value in row.items():
        if key in ("width", "height"):
            sides[key] = value
        elif key in names:
            grid[names[key]] = _axis(f"{where}.{key}", value, names[key], None)
        else:
            _unknown_key(where, key, [*names, "width", "height"])
    if sides:
        if set(sides) != {"width", "height"} or "resolution" in grid:
            raise RequestError(where, row, "either resolution, or both width and height")
        grid["resolution"] = (_resolution(where, [sides["width"], sides["height"]]),)
    return grid


def _include(where: str, row: Any, axes: Axes) -> Axes:
    """What the row leaves open is the sweep's, where the sweep has one value for it."""
    grid = _grid(where, row)
    for _, name, _ in AXES:
        if name not in grid:
            if len(axes[name]) != 1:
                raise RequestError(f"{where}.{name}", None, "required, for the sweep has several")
            grid[name] = axes[name]
    return {name: grid[name] for _, name, _ in AXES}


def _check_resolutions(grid: Axes) -> None:
    for name in grid["model"]:
        for width, height in grid["resolution"]:
            catalog.model(name).check_resolution(width, height)


def _matches(configuration: Configuration, row: Axes) -> bool:
    for name, values in row.items():
        value = (configuration.width, configuration.height) if name == "resolution" else getattr(configuration, name)
        if value not in values:
            return False
    return True


def _block(configuration: Configuration) -> tuple[Any, ...]:
    return tuple(getattr(configuration, name) for name in BLOCK)


def _unknown_key(where: str, key: Any, known: list[str]) -> None:
    near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    raise RequestError(where, key, f"unknown key; {hint}known: {', '.join(dict.fromkeys(known))}")


def _name(value: Any, default: str) -> str:
    name = str(default if value is None else value).strip()
    if not name or len(name) > 200 or not name.isprintable() or isinstance(value, (list, dict)):
        raise RequestError("name", value, "a text of up to 200 characters in one line")
    return name


def _bounded(key: str, value: Any, low: int, high: int) -> int:
    number = parse_whole(key, value)
    if not low <= number <= high:
        raise RequestError(key, value, f"a whole number from {low} to {high}")
    return number


def _path(value: Any, folder: Path) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise RequestError("prompts_file", value, "the path of a file")
    return folder / Path(value).expanduser()


def _deadline(value: Any) -> datetime | None:
    """Hours from now, or a point in time; one without a zone is UTC."""
    remedy = "hours from now (above 0), or a time to come such as 2030-01-31T18:00Z"
    if value is None:
        return None
    start = datetime.now(UTC)
    try:
        if _is_number(value):
            when = start + timedelta(hours=value)
        else:
            when = datetime.fromisoformat(str(value))
            when = when if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise RequestError("deadline", value, remedy) from None
    if when <= start:
        raise RequestError("deadline", value, remedy)
    return when.astimezone(UTC)


def _budget(value: Any) -> float | None:
    if value is None:
        return None
    if not _is_number(value) or not math.isfinite(value) or value <= 0:
        raise RequestError("budget_joules", value, "a number of joules above 0")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
