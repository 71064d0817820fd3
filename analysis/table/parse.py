"""Columns of a table out of what a caller holds.

An object a row goes through the rules of a file's row (:func:`farm.domain.row.parse_row`). Columns that are arrays
already (a data frame, a million configurations) are held to the same rules by a few rows: the ones that break a rule if
any row does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from analysis.table.columns import ARRAY_COLUMNS, DEFAULTS, LABELS, SWITCHES, DataError, Floats, Integers, Labels
from farm.catalog import NANO, gpu_name, model_name
from farm.domain import Configuration, Measurement, RequestError
from farm.domain.configuration import REQUIRED, TEXTS, WHOLE
from farm.domain.parsing import is_absent, parse_real, parse_switch, split_sides
from farm.domain.row import ENERGIES, LIMITS, REAL, Row, parse_idle_watts, parse_limit, parse_row

Parts: TypeAlias = tuple[dict[str, Labels], dict[str, NDArray[Any]]]  # columns of texts, columns of numbers

_EPOCH: Final = date(1970, 1, 1).toordinal()
_KNOWN: Final = frozenset({*LABELS, *WHOLE, *REAL, *SWITCHES, "resolution", "measured_at", "measured_day"})


def rows(items: Iterable[Configuration | Measurement | Row | Mapping[str, Any]]) -> Parts:
    """From one object a row. DataError naming the first row that cannot be taken, TypeError for what is no row."""
    parsed = [_row(number, item) for number, item in enumerate(items, start=1)]
    configurations = [row.configuration for row in parsed]
    labels = {name: Labels.of(getattr(c, name) for c in configurations) for name in TEXTS}
    labels["flags"] = Labels.of(" ".join(row.flags) for row in parsed)
    labels["dataset"] = Labels.of(row.dataset or "" for row in parsed)
    labels["measurement_id"] = Labels.of(row.measurement_id or "" for row in parsed)
    labels["meter"] = Labels.of(row.meter for row in parsed)
    numbers: dict[str, NDArray[Any]] = {
        name: np.array([getattr(c, name) for c in configurations], dtype=np.int64) for name in WHOLE
    }
    numbers["measured_day"] = np.array([_day(row.measured_at) for row in parsed], dtype=np.float64)
    numbers["cfg"] = np.array([c.cfg for c in configurations], dtype=np.bool_)
    numbers["includes_idle"] = np.array([row.includes_idle for row in parsed], dtype=np.bool_)
    for name in REAL:
        values = (getattr(row, name) for row in parsed)
        numbers[name] = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    return _by_build(labels), numbers


def array(values: NDArray[Any]) -> Parts:
    """From a 2-D array of objects, (n, 8 to 11), its columns in the order of ARRAY_COLUMNS."""
    if values.ndim != 2 or not len(ARRAY_COLUMNS) - 3 <= values.shape[1] <= len(ARRAY_COLUMNS):
        raise DataError("X", f"an array of shape {values.shape}", f"(n, 8 to 11): {', '.join(ARRAY_COLUMNS)}")
    names = ARRAY_COLUMNS[: values.shape[1]]
    return columns({name: values[:, place] for place, name in enumerate(names)})


def columns(mapping: Mapping[str, Any]) -> Parts:
    """From arrays of equal length by column name; ``resolution`` serves for width and height.

    Columns that no table has are ignored. A column that is not given takes the default of a configuration.
    """
    given = {name: np.asarray(values) for name, values in mapping.items()}
    _energy_in_joules(given)
    named = dict(zip(("width", "height"), sides(given["resolution"]), strict=True)) if "resolution" in given else {}
    given = named | given
    for name in REQUIRED:
        if name not in given:
            raise DataError("column", "resolution" if name in ("width", "height") else name, "required")
    n = len(given["model"])
    for name, values in given.items():
        if name in _KNOWN and len(values) != n:
            raise DataError("column", name, f"as many values as the others have ({n})")

    labels = {
        name: Labels.of(given[name].tolist()) if name in given else Labels((DEFAULTS[name],), np.zeros(n, np.int64))
        for name in LABELS
    }
    whole = {name: _reals(name, given[name]) if name in given else np.full(n, float(DEFAULTS[name])) for name in WHOLE}
    real = {name: _reals(name, given[name]) if name in given else np.full(n, math.nan) for name in REAL}
    for name in LIMITS:
        for value in real[name][real[name] <= 0][:1].tolist():
            parse_limit(name, value)
    stated = real["idle_watts"][~np.isnan(real["idle_watts"])]
    for value in stated[[stated.argmin(), stated.argmax()]].tolist() if len(stated) else ():
        parse_idle_watts(value)
    switch = Labels.of(given["cfg"].tolist())
    _check_witnesses(labels, whole, switch)
    labels["model"] = labels["model"].renamed(model_name)
    labels["gpu"] = labels["gpu"].renamed(gpu_name)
    for name, values in named.items():
        _refuse_contradiction(name, whole[name], _reals("resolution", values), given["resolution"])
    meaning = np.array([parse_switch("cfg", name) for name in switch.names], dtype=np.bool_)
    numbers: dict[str, NDArray[Any]] = {name: values.astype(np.int64) for name, values in whole.items()}
    numbers["cfg"] = meaning[switch.codes]
    numbers["includes_idle"] = _includes_idle(given.get("includes_idle"), real)
    dates = given["measured_at"].astype(str).tolist() if "measured_at" in given else [""] * n
    days = given.get("measured_day", np.array([_day(at) for at in dates], dtype=np.float64))
    numbers["measured_day"] = _reals("measured_day", days)
    return _by_build(labels), {**numbers, **real}


def _day(at: Any) -> float:
    """Days from 1970 to the day that a text in ISO 8601, or a date, begins with; NaN for anything else."""
    try:
        return float(date.fromisoformat(str(at)[:10]).toordinal() - _EPOCH)
    except ValueError:
        return math.nan


def _energy_in_joules(given: dict[str, NDArray[Any]]) -> None:
    """Put the energies of the first column of ENERGIES that is there under its first name."""
    name = next((name for name in ENERGIES if name in given), "energy_joules")
    if name != "energy_joules":
        given["energy_joules"] = _reals(name, given[name]) * ENERGIES[name]


def sides(resolution: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Widths and heights of sides, or of texts such as 512x768."""
    if resolution.dtype.kind not in "OUS":
        return resolution, resolution
    values, place = _distinct(resolution.tolist())
    pairs = [split_sides(value) for value in values]
    width, height = (np.array(side, dtype=object)[place] for side in zip(*pairs, strict=True)) if pairs else ([], [])
    return np.asarray(width), np.asarray(height)


def number(name: str, value: Any) -> float:
    try:
        return parse_real(value)
    except (TypeError, ValueError):
        raise DataError(name, value, "a number") from None


def _row(place: int, item: Any) -> Row:
    if isinstance(item, Row):
        return item
    if isinstance(item, Configuration):
        return Row(configuration=item, energy_joules=None)
    if isinstance(item, Measurement):
        return Row.of(item)
    if not isinstance(item, Mapping):
        raise TypeError(type(item).__name__)
    try:
        row = parse_row(item, energy_required=any(item.get(name) is not None for name in ENERGIES))
        c = row.configuration
        return replace(row, configuration=replace(c, model=model_name(c.model), gpu=gpu_name(c.gpu)))
    except RequestError as error:
        raise DataError(f"row {place}, {error.field}", error.value, error.remedy) from None


def _check_witnesses(labels: Mapping[str, Labels], whole: Mapping[str, Floats], switch: Labels) -> None:
    """Refuse columns that break a rule of a configuration.

    A bound is broken by the smallest, the largest or a fractional value, if by any, and a set of names by one of the
    distinct ones: only such rows are looked at, one by one.
    """
    witnesses = [np.unique(label.codes, return_index=True)[1] for label in (*labels.values(), switch)]
    witnesses += [_extremes(values) for values in (*whole.values(), whole["batch"] - whole["prompts"])]
    for row in sorted(set(np.concatenate(witnesses).tolist())):
        values: dict[str, Any] = {name: label.names[label.codes[row]] for name, label in labels.items()}
        values |= {name: float(column[row]) for name, column in whole.items()}
        try:
            parse_row({**values, "cfg": switch.names[switch.codes[row]]}, energy_required=False)
        except RequestError as error:
            raise DataError(f"row {row + 1}, {error.field}", error.value, error.remedy) from None


def _includes_idle(cells: NDArray[Any] | None, real: Mapping[str, Floats]) -> NDArray[np.bool_]:
    """Whether idle is in the energy of each row, (n,). DataError for one with an energy and no seconds."""
    energy, seconds = real["energy_joules"], real["duration_seconds"]
    if cells is None:
        return np.zeros(len(energy), dtype=np.bool_)
    switch = Labels.of("0" if is_absent(cell) else cell for cell in cells.tolist())
    meaning = np.array([parse_switch("includes_idle", name) for name in switch.names], dtype=np.bool_)
    included = meaning[switch.codes]
    wrong = np.flatnonzero(included & ~np.isnan(energy) & ~(seconds > 0))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(f"row {row + 1}, duration_seconds", seconds[row], "seconds above 0, as includes_idle is 1")
    return included


def _refuse_contradiction(name: str, side: Floats, named: Floats, resolution: NDArray[Any]) -> None:
    """A resolution that is given says the same as a width or height beside it; it may be empty."""
    wrong = np.flatnonzero(~np.isnan(named) & (named != side))
    if len(wrong):
        row = int(wrong[0])
        remedy = f"that of {name} ({side[row]:.0f}), or only one of the two columns"
        raise DataError(f"row {row + 1}, resolution", resolution[row], remedy)


def _extremes(values: Floats) -> Integers:
    """Rows of the smallest, the largest, a fractional and a missing value."""
    if not len(values):
        return np.empty(0, dtype=np.int64)
    odd = np.flatnonzero(~(values == np.floor(values)))[:1]  # NaN is odd, too
    if len(odd):
        return odd.astype(np.int64)
    return np.array([int(values.argmin()), int(values.argmax())], dtype=np.int64)


def _reals(name: str, values: NDArray[Any]) -> Floats:
    """Numbers of a column; empty cells become NaN. Texts are read by the rules of a file's cell."""
    if values.dtype.kind in "biuf":
        return np.asarray(values, dtype=np.float64)
    distinct, place = _distinct(values.tolist())
    numbers = []
    for cell in distinct:
        try:
            numbers.append(math.nan if is_absent(cell) else number(name, cell))
        except DataError:
            row = 1 + int(np.argmax(place == len(numbers)))
            raise DataError(f"row {row}, {name}", cell, "a number") from None
    return np.array(numbers, dtype=np.float64)[place]


def _distinct(cells: list[Any]) -> tuple[list[Any], Integers]:
    """The distinct cells in the order in which they came, and the place of each one among them: most columns have few.
    Cells that only compare alike, such as True and 1, are two."""
    if len(set(map(type, cells))) > 1:
        cells = [(type(cell), cell) for cell in cells]
        labels, place = _distinct(cells)
        return [cell for _, cell in labels], place
    places = {cell: place for place, cell in enumerate(dict.fromkeys(cells))}
    return list(places), np.fromiter(map(places.__getitem__, cells), dtype=np.int64, count=len(cells))


def _by_build(labels: dict[str, Labels]) -> dict[str, Labels]:
    """Rows of the nano size are of models of their own, ``flux-nano``: nothing carries over from the full size."""
    if "nano" not in labels["size"].names:
        return labels
    pairs = zip(labels["model"].texts().tolist(), labels["size"].texts().tolist(), strict=True)
    names = (model + NANO if size == "nano" and not model.endswith(NANO) else model for model, size in pairs)
    return {**labels, "model": Labels.of(names)}
