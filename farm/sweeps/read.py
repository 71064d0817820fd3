"""A sweep file, key by key."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from farm.domain import RequestError
from farm.domain.configuration import MAX_SEED
from farm.domain.parsing import parse_path, parse_whole
from farm.files.paths import exists
from farm.files.yaml import STDIN, read_yaml
from farm.sweeps.axes import AXES, check_resolutions, complete_grid, is_number, parse_axis, parse_grid, refuse_key
from farm.sweeps.file import KEYS, MAX_REPLICATES
from farm.sweeps.spec import SweepSpec

MAX_JOBS: Final = 10_000_000
SHIPPED: Final = Path(__file__).parent / "data"


def read_spec(path: str | Path) -> SweepSpec:
    """Read and check a sweep file, the standard input for ``-``, or the sweep of that name that ships where there is no
    such file. RequestError for whatever is wrong with it."""
    if not exists(Path(path)):
        path = next((shipped for shipped in SHIPPED.glob("*.yaml") if shipped.stem == str(path)), path)
    document = read_yaml(path)
    if not isinstance(document, dict):
        raise RequestError("sweep", str(path), "a mapping of keys such as models and gpus to values")
    default_name = "sweep" if str(path) == STDIN else Path(path).stem
    return parse_spec(document, folder=Path(path).parent, default_name=default_name)


def parse_spec(document: Mapping[Any, Any], *, folder: Path, default_name: str = "sweep") -> SweepSpec:
    """Check a sweep. Paths in it are relative to ``folder``."""
    for key in document:
        if key not in KEYS:
            refuse_key("sweep", key, list(KEYS))
    axes = {row: parse_axis(key, document.get(key), row, default) for key, row, default in AXES}
    spec = SweepSpec(
        name=_name(document.get("name"), default_name),
        axes=axes,
        include=tuple(complete_grid(f"include[{i}]", row, axes) for i, row in enumerate(_rows(document, "include"))),
        exclude=tuple(parse_grid(f"exclude[{i}]", row) for i, row in enumerate(_rows(document, "exclude"))),
        replicates=_bounded("replicates", document.get("replicates", 1), 1, MAX_REPLICATES),
        seed=_bounded("seed", document.get("seed", 0), 0, MAX_SEED),
        prompts_file=_path(document.get("prompts_file"), folder),
        deadline=_deadline(document.get("deadline")),
        budget_joules=_budget(document.get("budget_joules")),
    )
    grids = (spec.axes, *spec.include)
    size = sum(math.prod(len(values) for values in grid.values()) for grid in grids) * spec.replicates
    if size > MAX_JOBS:
        raise RequestError("sweep", f"{size:,} jobs", f"at most {MAX_JOBS:,} in one sweep")
    for grid in grids:
        check_resolutions(grid)
    return spec


def stored_spec(document: Mapping[str, Any]) -> SweepSpec:
    """The sweep that was submitted, from what the database keeps of it; without its deadline, which may have passed."""
    return parse_spec({key: document[key] for key in KEYS if key in document and key != "deadline"}, folder=Path())


def _rows(document: Mapping[Any, Any], key: str) -> list[Any]:
    value = document.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise RequestError(key, value, "a list of rows such as {model: sd2, gpu: a100}")
    return value


def _name(value: Any, default: str) -> str:
    if isinstance(value, (bool, float)):  # true, 1.10: which text was written is not known any more
        raise RequestError("name", value, f"a text, in quotes: '{str(value).lower()}'")
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
    return folder / parse_path("prompts_file", value)


def _deadline(value: Any) -> datetime | None:
    """Hours from now, or a point in time; one without a zone is UTC."""
    remedy = "hours from now (above 0), or a time to come such as 2030-01-31T18:00Z"
    if value is None:
        return None
    start = datetime.now(UTC)
    try:
        if is_number(value):
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
    if not is_number(value) or not 0 < value <= sys.float_info.max:
        raise RequestError("budget_joules", value, "a number of joules above 0")
    return float(value)
