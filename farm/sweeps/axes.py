"""The axes of a grid: their names, their defaults, and what their values may be."""

from __future__ import annotations

from itertools import product
from typing import Any, Final, NoReturn

from farm import catalog
from farm.domain import Configuration, RequestError
from farm.domain.errors import did_you_mean
from farm.domain.parsing import parse_precision, parse_switch, parse_whole, split_sides

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

Resolution = tuple[int, int]
Axes = dict[str, tuple[Any, ...]]


def parse_axis(key: str, value: Any, row: str, default: tuple[Any, ...] | None) -> tuple[Any, ...]:
    """The values of one axis, checked and without repeats; ``key`` is what errors call it."""
    if value is None:
        if default is None:
            raise RequestError(key, value, "required: a list of names from the catalog")
        value = list(default)
    # `resolutions: [512, 768]` are two squares, `resolution: [512, 768]` in a row is one pair.
    pair = key.endswith("resolution") and isinstance(value, list) and not any(isinstance(v, list) for v in value)
    values = value if isinstance(value, list) and not pair else [value]
    if not values:
        raise RequestError(key, value, "at least one value (leave the key out for its default)")
    return tuple(dict.fromkeys(_value(key, row, v) for v in values))


def parse_grid(where: str, row: Any) -> Axes:
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
            grid[names[key]] = parse_axis(f"{where}.{key}", value, names[key], None)
        else:
            refuse_key(where, key, [*names, "width", "height"])
    if sides:
        if set(sides) != {"width", "height"} or "resolution" in grid:
            raise RequestError(where, row, "either resolution, or both width and height")
        grid["resolution"] = (_resolution(where, [sides["width"], sides["height"]]),)
    return grid


def complete_grid(where: str, row: Any, axes: Axes) -> Axes:
    """A row of include; what it leaves open is the sweep's, where the sweep has one value for it."""
    grid = parse_grid(where, row)
    for _, name, _ in AXES:
        if name not in grid:
            if len(axes[name]) != 1:
                raise RequestError(f"{where}.{name}", None, "required, for the sweep has several")
            grid[name] = axes[name]
    return {name: grid[name] for _, name, _ in AXES}


def check_resolutions(grid: Axes) -> None:
    """Refuse sides that a model of the grid cannot make."""
    for name, size in product(grid["model"], grid["size"]):
        limits = catalog.model(name).rules(size)
        for width, height in grid["resolution"]:
            limits.check_image(width, height, cfg=False)  # guidance that a model lacks leaves out a part of the product


def refuse_key(where: str, key: Any, known: list[str]) -> NoReturn:
    """A key that nobody knows, with the one that was probably meant."""
    hint = did_you_mean(key, known, cutoff=0.5)
    raise RequestError(where, key, f"unknown key; {hint}known: {', '.join(dict.fromkeys(known))}")


def is_number(value: Any) -> bool:
    """Whether a value of a sweep file is a number, and no switch."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _value(key: str, row: str, value: Any) -> Any:
    """One value of an axis, checked by the rules of a configuration and against the catalog."""
    if row == "resolution":
        return _resolution(key, value)
    if row in ("model", "gpu"):
        if not isinstance(value, str):
            raise RequestError(key, value, "a name from the catalog")
        find = catalog.find_model if row == "model" else catalog.find_gpu
        return find(value, field=key).name
    if row == "cfg":
        return parse_switch(key, value)
    if row in ("steps", "prompts", "batch"):
        value = parse_whole(key, value)
    if row == "precision":
        value = parse_precision(value)
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
    sides = value if isinstance(value, (list, tuple)) else split_sides(value)
    if len(sides) != 2:
        raise RequestError(key, value, "a side in pixels, or [width, height]")
    width, height = (parse_whole(key, side) for side in sides)
    Configuration(**{**_PROBE, "width": width, "height": height})
    return width, height
