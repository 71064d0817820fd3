"""Rows to fit or predict, column by column: what every law takes, whatever the caller holds.

A row of a file is checked by :mod:`farm.domain.table`, the same code that imports it into the farm. Columns that are
arrays already (a data frame, a million configurations) are checked by the rules of
:class:`farm.domain.configuration.Configuration` on the rows that break a rule if any row does.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from farm.catalog import NANO
from farm.domain import SPOILING_FLAGS, Configuration, Measurement, RequestError, origin
from farm.domain.table import BadRows, Row, parse_row, parse_rows, read_csv

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Columns of a 2-D array of objects, in this order; the last three may be left out.
ARRAY_COLUMNS: Final = (
    "model", "gpu", "width", "height", "steps", "precision", "cfg", "prompts", "batch", "weights", "size",
)  # fmt: skip
LABELS: Final = ("model", "gpu", "precision", "weights", "size", "flags", "dataset", "measurement_id")
WHOLE: Final = ("width", "height", "steps", "prompts", "batch", "seed")
REAL: Final = ("energy_joules", "energy_std_joules", "duration_seconds")
DEFAULTS: Final[Mapping[str, Any]] = {
    "batch": 1, "weights": "random", "size": "full", "seed": 0, "flags": "", "dataset": "", "measurement_id": "",
}  # fmt: skip


class DataError(RequestError, ValueError):
    """Data that a law cannot take; a ValueError too, as scikit-learn's conventions ask."""


@dataclass(frozen=True, slots=True)
class Labels:
    """A column of texts: few distinct ``names``, and for every row the place of its own among them."""

    names: tuple[str, ...]
    codes: Integers  # (n,)

    @classmethod
    def of(cls, values: Iterable[Any]) -> Self:
        places: dict[Any, int] = {}
        codes = np.fromiter((places.setdefault(value, len(places)) for value in values), dtype=np.int64)
        return cls(tuple(_text(value) for value in places), codes)

    def texts(self) -> NDArray[np.str_]:
        return np.asarray(self.names, dtype=np.str_)[self.codes] if self.names else np.empty(0, dtype=np.str_)


class Table:
    """An immutable set of rows. Every property is an array of one value a row.

    Make one with :meth:`of` (anything), :meth:`read` (a file), :meth:`from_rows` or :meth:`from_columns`.
    Indexing with a mask, a slice or positions gives a smaller table, so scikit-learn can split it.
    """

    def __init__(self, labels: Mapping[str, Labels], numbers: Mapping[str, NDArray[Any]], number: Integers) -> None:
        self._labels = dict(labels)
        self._numbers = dict(numbers)
        self._number = number
        for array in (*self._numbers.values(), *(label.codes for label in self._labels.values()), number):
            array.flags.writeable = False

    # --- making one

    @classmethod
    def of(cls, source: Any) -> Table:
        """A table from whatever holds configurations.

        Args:
            source: a Table; the path of a CSV or Parquet file; one Configuration; a sequence of Configuration,
                Measurement, farm.domain.table.Row or mappings; a data frame or a mapping of columns; a 2-D array of
                objects, (n, 8 to 11), its columns in the order of ARRAY_COLUMNS.

        Raises:
            DataError, RequestError: naming the row, the column and what would be right.
        """
        if isinstance(source, Table):
            return source
        if isinstance(source, (str, Path)):
            return cls.read(source)
        if isinstance(source, Configuration):
            return cls.from_rows([source])
        if isinstance(source, Mapping):
            return cls.from_columns(source)
        if hasattr(source, "columns") and hasattr(source, "shape"):
            return cls.from_columns({str(name): source[name].to_numpy() for name in source.columns})
        if isinstance(source, np.ndarray):
            return cls._from_array(source)
        try:
            return cls.from_rows(source)
        except TypeError:
            raise DataError("X", type(source).__name__, "a table, a data frame or a list of configurations") from None

    @classmethod
    def read(cls, path: str | Path, *, energies: bool = True) -> Table:
        """The rows of a CSV or Parquet file (by its suffix); ``energies=False`` ignores a column of energies.

        Raises RequestError for a file, row or value that cannot be taken, and for a measurement_id that is there twice.
        """
        rows = _read_parquet(path, energies) if Path(path).suffix in (".parquet", ".pq") else None
        rows = read_csv(path, energy_required=energies) if rows is None else rows
        _refuse_duplicates(rows, str(path))
        return cls.from_rows(rows)

    @classmethod
    def from_rows(cls, items: Iterable[Configuration | Measurement | Row | Mapping[str, Any]]) -> Table:
        """From one object a row. RequestError naming the first row that cannot be taken."""
        rows = [_as_row(number, item) for number, item in enumerate(items, start=1)]
        configurations = [row.configuration for row in rows]
        labels = {
            name: Labels.of(getattr(c, name) for c in configurations)
            for name in ("model", "gpu", "precision", "weights", "size")
        }
        labels["flags"] = Labels.of(" ".join(row.flags) for row in rows)
        labels["dataset"] = Labels.of(row.dataset or "" for row in rows)
        labels["measurement_id"] = Labels.of(row.measurement_id or "" for row in rows)
        numbers: dict[str, NDArray[Any]] = {
            name: np.array([getattr(c, name) for c in configurations], dtype=np.int64) for name in WHOLE
        }
        numbers["cfg"] = np.array([c.cfg for c in configurations], dtype=np.bool_)
        for name in REAL:
            values = (getattr(row, name) for row in rows)
            numbers[name] = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
        return cls(_by_build(labels), numbers, np.arange(1, len(rows) + 1))

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any]) -> Table:
        """From arrays of equal length by column name; ``resolution`` serves for width and height.

        Columns that no table has are ignored. A column that is not given takes the default of a configuration.
        """
        given = {name: np.asarray(values) for name, values in columns.items()}
        if "resolution" in given:
            width, height = _sides(given["resolution"])
            given.setdefault("width", width)
            given.setdefault("height", height)
        for name in ("model", "gpu", "width", "height", "steps", "precision", "cfg", "prompts"):
            if name not in given:
                raise DataError("column", "resolution" if name in ("width", "height") else name, "required")
        lengths = {name: len(values) for name, values in given.items() if name in _KNOWN}
        n = lengths["model"]
        for name, length in lengths.items():
            if length != n:
                raise DataError("column", name, f"as many values as the others have ({n})")

        labels = {
            name: Labels.of(given[name].tolist())
            if name in given
            else Labels((DEFAULTS[name],), np.zeros(n, dtype=np.int64))
            for name in LABELS
        }
        whole = {
            name: _reals(name, given[name]) if name in given else np.full(n, float(DEFAULTS[name])) for name in WHOLE
        }
        real = {name: _reals(name, given[name]) if name in given else np.full(n, math.nan) for name in REAL}
        switch = Labels.of(given["cfg"].tolist())
        _check_witnesses(labels, whole, switch)
        meaning = np.array([str(name).strip().lower() in _TRUE for name in switch.names], dtype=np.bool_)
        numbers: dict[str, NDArray[Any]] = {name: values.astype(np.int64) for name, values in whole.items()}
        numbers["cfg"] = meaning[switch.codes] if n else np.empty(0, dtype=np.bool_)
        return cls(_by_build(labels), {**numbers, **real}, np.arange(1, n + 1))

    @classmethod
    def _from_array(cls, array: NDArray[Any]) -> Table:
        if array.ndim != 2 or not len(ARRAY_COLUMNS) - 3 <= array.shape[1] <= len(ARRAY_COLUMNS):
            raise DataError("X", f"an array of shape {array.shape}", f"(n, 8 to 11): {', '.join(ARRAY_COLUMNS)}")
        names = ARRAY_COLUMNS[: array.shape[1]]
        return cls.from_columns({name: array[:, place] for place, name in enumerate(names)})

    # --- columns

    @property
    def model(self) -> NDArray[np.str_]:
        return self._labels["model"].texts()

    @property
    def gpu(self) -> NDArray[np.str_]:
        return self._labels["gpu"].texts()

    @property
    def precision(self) -> NDArray[np.str_]:
        """fp16, bf16 or fp32."""
        return self._labels["precision"].texts()

    @property
    def weights(self) -> NDArray[np.str_]:
        return self._labels["weights"].texts()

    @property
    def size(self) -> NDArray[np.str_]:
        return self._labels["size"].texts()

    @property
    def flags(self) -> NDArray[np.str_]:
        """Names separated by blanks."""
        return self._labels["flags"].texts()

    @property
    def dataset(self) -> NDArray[np.str_]:
        return self._labels["dataset"].texts()

    @property
    def measurement_id(self) -> NDArray[np.str_]:
        """Empty where a row has none."""
        return self._labels["measurement_id"].texts()

    @property
    def width(self) -> Integers:
        return self._numbers["width"]

    @property
    def height(self) -> Integers:
        return self._numbers["height"]

    @property
    def pixels(self) -> Integers:
        return self.width * self.height

    @property
    def steps(self) -> Integers:
        return self._numbers["steps"]

    @property
    def prompts(self) -> Integers:
        """Images in total."""
        return self._numbers["prompts"]

    @property
    def batch(self) -> Integers:
        """Images at once."""
        return self._numbers["batch"]

    @property
    def seed(self) -> Integers:
        return self._numbers["seed"]

    @property
    def cfg(self) -> NDArray[np.bool_]:
        return self._numbers["cfg"]

    @property
    def energy_joules(self) -> Floats:
        """Of all prompts together, idle subtracted; NaN where it is not known."""
        return self._numbers["energy_joules"]

    @property
    def energy_std_joules(self) -> Floats:
        return self._numbers["energy_std_joules"]

    @property
    def duration_seconds(self) -> Floats:
        return self._numbers["duration_seconds"]

    @property
    def number(self) -> Integers:
        """The row's number in the table it came from, counted from 1; kept by :meth:`take`."""
        return self._number

    @property
    def spoiled(self) -> NDArray[np.bool_]:
        """Rows that fits leave out because a flag says so."""
        flags = self._labels["flags"]
        bad = np.array([not SPOILING_FLAGS.isdisjoint(name.split()) for name in flags.names], dtype=np.bool_)
        return bad[flags.codes] if len(self) else np.zeros(0, dtype=np.bool_)

    @property
    def origin(self) -> NDArray[np.str_]:
        """``measured``, ``estimated`` or ``simulated``."""
        flags = self._labels["flags"]
        return Labels(tuple(origin(tuple(name.split())) for name in flags.names), flags.codes).texts()

    # --- working with rows

    def __len__(self) -> int:
        return len(self._number)

    def __reduce__(self) -> Any:
        return Table, (self._labels, self._numbers, self._number)  # so that a copy cannot be written to either

    @property
    def shape(self) -> tuple[int]:
        return (len(self),)

    def __getitem__(self, key: Any) -> Table:
        """Rows by mask, slice or positions; ``table[rows, ...]`` too, which is how scikit-learn asks."""
        return self.take(key[0] if isinstance(key, tuple) else key)

    def take(self, rows: Any) -> Table:
        """The rows that a mask, a slice or an array of positions picks, in that order."""
        picked = np.atleast_1d(np.arange(len(self))[rows if isinstance(rows, slice) else np.asarray(rows)])
        labels = {name: Labels(label.names, label.codes[picked]) for name, label in self._labels.items()}
        numbers = {name: values[picked] for name, values in self._numbers.items()}
        return Table(labels, numbers, self._number[picked])

    def where(self, **values: Any) -> Table:
        """Rows whose columns equal the given values; a list means any of them.

        ``table.where(model=["flux", "qwen"], precision="fp16", cfg=True, resolution=512)``. DataError for a column
        that is not there.
        """
        mask = np.ones(len(self), dtype=np.bool_)
        for name, wanted in values.items():
            options = list(wanted) if isinstance(wanted, (list, tuple, set, frozenset)) else [wanted]
            mask &= self._equals(name, options)
        return self.take(mask)

    def labels(self, column: str) -> Labels:
        """A column of texts as its distinct names and the place of each row's among them."""
        return self._labels[column]

    def names(self, column: str) -> tuple[str, ...]:
        """The distinct texts of a column of labels that rows really have, sorted: ``table.names("gpu")``."""
        label = self._labels[column]
        counts = np.bincount(label.codes, minlength=len(label.names))
        return tuple(sorted({name for name, count in zip(label.names, counts.tolist(), strict=True) if count}))

    def groups(self, *columns: str) -> tuple[Integers, Integers]:
        """Rows that agree in some columns: (first row of each group (g,), group of each row (n,)).

        Work that depends on model, width and height alone is looked up once a group, however long the table.
        """
        combined = np.zeros(len(self), dtype=np.int64)
        for name in columns:
            codes = self._codes(name)
            span = int(codes.max()) + 1 if len(codes) else 1
            combined = combined * span + codes
            if combined.size and combined.max() > 2**31:
                combined = np.unique(combined, return_inverse=True)[1].astype(np.int64)
        span = int(combined.max()) + 1 if len(combined) else 0
        if span > 8 * len(combined) + 1024:  # too sparse to count
            _, first, group = np.unique(combined, return_index=True, return_inverse=True)
            return first.astype(np.int64), group.astype(np.int64)
        place = np.full(span, -1, dtype=np.int64)
        place[combined[::-1]] = np.arange(len(combined) - 1, -1, -1)  # the first row of each stays
        present = np.flatnonzero(place >= 0)
        rank = np.empty(span, dtype=np.int64)
        rank[present] = np.arange(len(present))
        return place[present], rank[combined]

    def configurations(self) -> Iterator[Configuration]:
        """Every row as a Configuration."""
        for row in range(len(self)):
            yield self.configuration(row)

    def configuration(self, row: int) -> Configuration:
        labels = {
            name: self._labels[name].names[self._labels[name].codes[row]]
            for name in ("model", "gpu", "precision", "weights", "size")
        }
        whole = {name: int(self._numbers[name][row]) for name in WHOLE}
        return Configuration(**labels, **whole, cfg=bool(self.cfg[row]))  # type: ignore[arg-type]

    def digest(self, energy_joules: Floats | None = None) -> str:
        """64 hex digits that stand for the rows and their energies, whatever their order."""
        energies = self.energy_joules if energy_joules is None else energy_joules
        total = 0
        for c, energy in zip(self.configurations(), energies.tolist(), strict=True):
            text = json.dumps([*c.to_dict().values(), energy])
            total += int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
        return f"{total % 2**256:064x}"

    def _equals(self, name: str, options: Sequence[Any]) -> NDArray[np.bool_]:
        if name == "resolution":
            mask = np.zeros(len(self), dtype=np.bool_)
            for width, height in zip(*_sides(np.array([str(option) for option in options])), strict=True):
                mask |= self._equals("width", [width]) & self._equals("height", [height])
            return mask
        if name == "origin":
            return np.isin(self.origin, [str(option) for option in options])
        if name in self._labels:
            label = self._labels[name]
            wanted = {str(option) for option in options}
            return np.array([n in wanted for n in label.names], dtype=np.bool_)[label.codes]
        if name in self._numbers:
            return np.isin(self._numbers[name], [_number(name, option) for option in options])
        known = ", ".join(["resolution", "origin", *self._labels, *self._numbers])
        raise DataError("column", name, f"one of {known}")

    def _codes(self, name: str) -> Integers:
        if name in self._labels:
            return self._labels[name].codes
        values = self._numbers[name].astype(np.int64)
        return values - values.min() if len(values) else values


_KNOWN: Final = frozenset({*LABELS, *WHOLE, *REAL, "cfg", "resolution"})
_TRUE: Final = frozenset({"1", "true", "yes", "on", "1.0"})


def _as_row(number: int, item: Any) -> Row:
    if isinstance(item, Row):
        return item
    if isinstance(item, Configuration):
        return Row(configuration=item, energy_joules=None)
    if isinstance(item, Measurement):
        return Row(
            configuration=item.configuration,
            energy_joules=item.energy_joules,
            energy_std_joules=item.energy_std_joules,
            duration_seconds=item.duration_seconds,
            flags=item.flags,
            measurement_id=item.measurement_id,
        )
    if not isinstance(item, Mapping):
        raise TypeError(type(item).__name__)
    try:
        return parse_row(item, energy_required=item.get("energy_joules") is not None)
    except RequestError as error:
        raise DataError(f"row {number}, {error.field}", error.value, error.remedy) from None


def _read_parquet(path: str | Path, energies: bool) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise RequestError("table", str(path), f"a readable Parquet file ({' '.join(str(error).split())})") from None
    columns = [column.to_pylist() for column in table.columns]
    return parse_rows(table.column_names, zip(*columns, strict=True), source=str(path), energy_required=energies)


def _refuse_duplicates(rows: Sequence[Row], source: str) -> None:
    seen: dict[tuple[str | None, str], int] = {}
    problems = []
    for number, row in enumerate(rows, start=1):
        if row.measurement_id is None:
            continue
        first = seen.setdefault((row.dataset, row.measurement_id), number)
        if first != number:
            problems.append(
                f"row {number}, measurement_id: {row.measurement_id}: already in row {first}; keep one of the two"
            )
    if problems:
        raise BadRows(source, problems)


def _check_witnesses(labels: Mapping[str, Labels], whole: Mapping[str, Floats], switch: Labels) -> None:
    """Refuse columns that break a rule of a configuration.

    A bound is broken by the smallest, the largest or a fractional value, if by any, and a set of names by one of the
    distinct ones: only such rows are looked at, one by one.
    """
    rows = [np.unique(label.codes, return_index=True)[1] for label in (*labels.values(), switch)]
    rows += [_extremes(values) for values in (*whole.values(), whole["batch"] - whole["prompts"])]
    for row in sorted(set(np.concatenate(rows).tolist())):
        values: dict[str, Any] = {name: label.names[label.codes[row]] for name, label in labels.items()}
        values |= {name: float(column[row]) for name, column in whole.items()}
        try:
            parse_row({**values, "cfg": switch.names[switch.codes[row]]}, energy_required=False)
        except RequestError as error:
            raise DataError(f"row {row + 1}, {error.field}", error.value, error.remedy) from None


def _sides(resolution: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Widths and heights of sides, or of texts such as 512x768."""
    if resolution.dtype.kind not in "OUS":
        return resolution, resolution
    parts = [str(value).lower().partition("x") for value in resolution.tolist()]
    return np.array([w for w, _, _ in parts]), np.array([h if times else w for w, times, h in parts])


def _reals(name: str, values: NDArray[Any]) -> Floats:
    """Numbers of a column; empty cells become NaN."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(len(values))
        for row, value in enumerate(values.tolist()):
            empty = value is None or value == ""
            numbers[row] = math.nan if empty else _number(f"row {row + 1}, {name}", value)
        return numbers


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DataError(name, value, "a number") from None


def _extremes(values: Floats) -> Integers:
    """Rows of the smallest, the largest, a fractional and a missing value."""
    if not len(values):
        return np.empty(0, dtype=np.int64)
    odd = np.flatnonzero(~(values == np.floor(values)))[:1]  # NaN is odd, too
    if len(odd):
        return odd.astype(np.int64)
    return np.array([int(values.argmin()), int(values.argmax())], dtype=np.int64)


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value).strip()


def _by_build(labels: dict[str, Labels]) -> dict[str, Labels]:
    """Rows of the nano size are of models of their own, ``flux-nano``: nothing carries over from the full size."""
    if "nano" not in labels["size"].names:
        return labels
    pairs = zip(labels["model"].texts().tolist(), labels["size"].texts().tolist(), strict=True)
    names = (model + NANO if size == "nano" and not model.endswith(NANO) else model for model, size in pairs)
    return {**labels, "model": Labels.of(names)}
