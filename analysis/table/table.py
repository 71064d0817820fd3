"""The table: made of anything that holds rows, and taken apart by rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.table import display, parse
from analysis.table.columns import Columns, DataError, Floats, Integers, Labels
from farm.domain import Configuration, Measurement
from farm.domain.configuration import TEXTS, WHOLE
from farm.domain.row import REAL, Row
from farm.domain.table import refuse_repeats
from farm.files.table import read_table


class Table(Columns):
    """An immutable set of rows. Every property is an array of one value a row.

    Make one with :meth:`of` (anything), :meth:`read` (a file), :meth:`from_rows` or :meth:`from_columns`.
    Indexing with a mask, a slice or positions gives a smaller table, so scikit-learn can split it.
    """

    @classmethod
    def of(cls, source: Any) -> Table:
        """A table from whatever holds configurations.

        Args:
            source: a Table; the path of a CSV or Parquet file; one Configuration; a sequence of Configuration,
                Measurement, farm.domain.row.Row or mappings; a data frame or a mapping of columns; a 2-D array of
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
            return cls(*parse.array(source))
        try:
            return cls.from_rows(source)
        except TypeError:
            raise DataError("X", type(source).__name__, "a table, a data frame or a list of configurations") from None

    @classmethod
    def read(cls, path: str | Path, *, energies: bool = True, field: str = "table") -> Table:
        """The rows of a CSV or Parquet file (by its suffix); ``field`` is what refusals call it.

        ``Table.read("candidates.csv", energies=False)`` reads configurations that nobody measured yet, to predict or to
        plan with: a column of energies need not be there, and is ignored where it is.

        Raises RequestError for a file, row or value that cannot be taken, and for a measurement_id that is there twice.
        """
        rows = read_table(path, energy_required=energies, field=field)
        refuse_repeats(rows, str(path))
        return cls.from_rows(rows)

    @classmethod
    def from_rows(cls, items: Iterable[Configuration | Measurement | Row | Mapping[str, Any]]) -> Table:
        """From one object a row. RequestError naming the first row that cannot be taken."""
        return cls(*parse.rows(items))

    @classmethod
    def from_columns(cls, columns: Mapping[str, Any]) -> Table:
        """From arrays of equal length by column name; ``resolution`` serves for width and height.

        Columns that no table has are ignored. A column that is not given takes the default of a configuration.

        >>> table = Table.from_columns({"model": ["sd15"] * 2, "gpu": ["t4"] * 2, "resolution": [512, 768],
        ...     "steps": [20, 20], "precision": ["fp16"] * 2, "cfg": [1, 1], "prompts": [1, 4]})
        >>> [configuration.label() for configuration in table.configurations()]
        ['sd15 512x512 T20 fp16 cfg N1', 'sd15 768x768 T20 fp16 cfg N4']
        """
        return cls(*parse.columns(columns))

    @classmethod
    def joined(cls, tables: Sequence[Table]) -> Table:
        """The rows of all tables, one after the other, numbered anew. ValueError for no table."""
        first = tables[0]
        labels = {name: Labels.joined([table._labels[name] for table in tables]) for name in first._labels}
        numbers = {name: np.concatenate([table._numbers[name] for table in tables]) for name in first._numbers}
        return cls(labels, numbers)

    def __reduce__(self) -> Any:
        return Table, (self._labels, self._numbers, self._number)  # so that a copy cannot be written to either

    @property
    def shape(self) -> tuple[int]:
        """(n,), as scikit-learn asks for it."""
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
        """Rows whose columns equal the given values; a list means any. DataError for a column that is not there.

        >>> from analysis import paper_rows
        >>> len(paper_rows().where(model=["flux", "qwen"], precision="fp16", cfg=True, resolution=512))
        10
        """
        mask = np.ones(len(self), dtype=np.bool_)
        for name, wanted in values.items():
            options = list(wanted) if isinstance(wanted, (list, tuple, set, frozenset)) else [wanted]
            mask &= self._equals(name, options)
        return self.take(mask)

    def of_dataset(self, name: str) -> Table:
        """The same rows, all of the data set of that name."""
        labels = {**self._labels, "dataset": Labels((name,), np.zeros(len(self), dtype=np.int64))}
        return Table(labels, self._numbers, self._number)

    def numbered(self, numbers: Integers) -> Table:
        """The same rows under other numbers of their own, (n,)."""
        return Table(self._labels, self._numbers, numbers)

    def renamed(self, column: str, names: Mapping[str, str]) -> Table:
        """The same rows with some texts of a column written otherwise.

        >>> from analysis import paper_rows
        >>> paper_rows().renamed("model", {"flux": "FLUX"}).names("model")
        ('FLUX', 'qwen', 'sd35')
        """
        old = self._labels[column]
        written = [names.get(name, name) for name in old.names]
        places = {name: place for place, name in enumerate(dict.fromkeys(written))}
        codes = np.array([places[name] for name in written], dtype=np.int64)[old.codes]
        return Table({**self._labels, column: Labels(tuple(places), codes)}, self._numbers, self._number)

    def to_pandas(self) -> Any:
        """A data frame: a row a row, a column a column; an energy that is not known is NaN."""
        import pandas

        return pandas.DataFrame(self.to_columns())

    def to_columns(self) -> dict[str, NDArray[Any]]:
        """Every column as an array, by its name; :meth:`from_columns` takes them back."""
        return {name: np.asarray(getattr(self, name)) for name in (*self._labels, *self._numbers)}

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """For whatever reads Arrow: ``pyarrow.table(table)``, ``polars.DataFrame(table)``, DuckDB."""
        import pyarrow

        columns = {name: pyarrow.array(v, from_pandas=True) for name, v in self.to_columns().items()}
        return pyarrow.table(columns).__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        """How many rows of what, and the first of them."""
        rows = f"{len(self):,} row{'' if len(self) == 1 else 's'}"
        of = ", ".join(f"{len(self.names(name))} {name}s" for name in ("model", "gpu"))
        shown = ("model", "gpu", "width", "height", "steps", "precision", "cfg", "prompts", "batch", "energy_joules")
        head = self.take(slice(None, display.ROWS_SHOWN))
        return f"Table of {rows}: {of}\n" + display.grid(
            {name: np.asarray(getattr(head, name)).tolist() for name in shown}, rows=len(self)
        )

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
        """The row at a place, counted from 0, as a Configuration. IndexError beyond the last."""
        labels = {name: self._labels[name].names[self._labels[name].codes[row]] for name in TEXTS}
        whole = {name: int(self._numbers[name][row]) for name in WHOLE}
        return Configuration(**labels, **whole, cfg=bool(self.cfg[row]))  # type: ignore[arg-type]

    def digest(self, energy_joules: Floats | None = None) -> str:
        """64 hex digits that stand for the rows with all that a law may fit, whatever their order."""
        energies = self.energy_joules if energy_joules is None else energy_joules
        names = [*(f.name for f in fields(Configuration)), "includes_idle", "dataset", "meter", "measured_day", *REAL]
        columns = [np.asarray(getattr(self, name)).tolist() for name in names if name != "energy_joules"]
        total = 0
        for values in zip(*columns, energies.tolist(), strict=True):
            total += int.from_bytes(hashlib.sha256(repr(values).encode()).digest(), "big")
        return f"{total % 2**256:064x}"

    def _equals(self, name: str, options: Sequence[Any]) -> NDArray[np.bool_]:
        if name == "resolution":
            mask = np.zeros(len(self), dtype=np.bool_)
            for width, height in zip(*parse.sides(np.array([str(option) for option in options])), strict=True):
                mask |= self._equals("width", [width]) & self._equals("height", [height])
            return mask
        if name == "origin":
            return np.isin(self.origin, [str(option) for option in options])
        if name in self._labels:
            label = self._labels[name]
            wanted = {str(option) for option in options}
            return np.array([n in wanted for n in label.names], dtype=np.bool_)[label.codes]
        if name in self._numbers:
            return np.isin(self._numbers[name], [parse.number(name, option) for option in options])
        known = ", ".join(["resolution", "origin", *self._labels, *self._numbers])
        raise DataError("column", name, f"one of {known}")

    def _codes(self, name: str) -> Integers:
        if name in self._labels:
            return self._labels[name].codes
        values = self._numbers[name].astype(np.int64)
        return values - values.min() if len(values) else values
