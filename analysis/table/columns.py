"""The columns of a table: their names, their arrays, and the properties by which laws ask for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from farm.domain import SPOILING_FLAGS, RequestError, origin
from farm.domain import configuration as rules
from farm.domain.parsing import is_absent

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LABELS: Final = (*rules.TEXTS, "flags", "dataset", "measurement_id", "meter")
SWITCHES: Final = ("cfg", "includes_idle")  # the second is False unless stated
DEFAULTS: Final[Mapping[str, Any]] = {**rules.DEFAULTS, "flags": "", "dataset": "", "measurement_id": "", "meter": ""}
# Columns of a 2-D array of objects, in this order; the last three may be left out.
ARRAY_COLUMNS: Final = (
    "model", "gpu", "width", "height", "steps", "precision", "cfg", "prompts", "batch", "weights", "size",
)  # fmt: skip


class DataError(RequestError, ValueError):
    """Data that a law cannot take; a ValueError too, as scikit-learn's conventions ask."""


@dataclass(frozen=True, slots=True)
class Labels:
    """A column of texts: few distinct ``names``, and for every row the place of its own among them."""

    names: tuple[str, ...]
    codes: Integers  # (n,)

    @classmethod
    def of(cls, values: Iterable[Any]) -> Self:
        cells = list(values)
        places = {value: place for place, value in enumerate(dict.fromkeys(cells))}
        codes = np.fromiter(map(places.__getitem__, cells), dtype=np.int64, count=len(cells))
        return cls(tuple("" if is_absent(value) else str(value).strip() for value in places), codes)

    def renamed(self, name_of: Callable[[str], str]) -> Labels:
        """The same rows, every text by another name; texts that get one name become one."""
        names = [name_of(name) for name in self.names]
        place = {name: i for i, name in enumerate(dict.fromkeys(names))}
        return Labels(tuple(place), np.array([place[name] for name in names], dtype=np.int64)[self.codes])

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The labels of all parts, one after the other."""
        names = tuple(dict.fromkeys(name for part in parts for name in part.names))
        place = {name: i for i, name in enumerate(names)}
        codes = [np.array([place[name] for name in part.names], dtype=np.int64)[part.codes] for part in parts]
        return cls(names, np.concatenate(codes))

    def texts(self) -> NDArray[np.str_]:
        return np.asarray(self.names, dtype=np.str_)[self.codes] if self.names else np.empty(0, dtype=np.str_)


class Columns:
    """Arrays of one value a row, which nobody can write to."""

    def __init__(
        self, labels: Mapping[str, Labels], numbers: Mapping[str, NDArray[Any]], number: Integers | None = None
    ) -> None:
        """Columns of equal length: texts, numbers, and each row's own number (default: counted from 1)."""
        self._labels = dict(labels)
        self._numbers = dict(numbers)
        self._number = np.arange(1, len(self._labels["model"].codes) + 1) if number is None else number
        for array in (*self._numbers.values(), *(label.codes for label in self._labels.values()), self._number):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self._number)

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
    def meter(self) -> NDArray[np.str_]:
        """What measured the row, by the name of a meter of this project; empty where it is not known."""
        return self._labels["meter"].texts()

    @property
    def measured_day(self) -> Floats:
        """Days from 1970 to the day on which the row was measured; NaN where it is not known."""
        return self._numbers["measured_day"]

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
    def frames(self) -> Integers:
        """Of a video; 1 of an image."""
        return self._numbers["frames"]

    @property
    def cfg(self) -> NDArray[np.bool_]:
        return self._numbers["cfg"]

    @property
    def includes_idle(self) -> NDArray[np.bool_]:
        """Whether idle power is in the row's energy; of a row to predict, whether it is to be."""
        return self._numbers["includes_idle"]

    @property
    def energy_joules(self) -> Floats:
        """Of all prompts together, idle subtracted unless ``includes_idle``; NaN where it is not known."""
        return self._numbers["energy_joules"]

    @property
    def energy_std_joules(self) -> Floats:
        return self._numbers["energy_std_joules"]

    @property
    def duration_seconds(self) -> Floats:
        return self._numbers["duration_seconds"]

    @property
    def idle_watts(self) -> Floats:
        """Measured with the row; NaN where it was not."""
        return self._numbers["idle_watts"]

    @property
    def power_limit_watts(self) -> Floats:
        """Enforced on the board; NaN where it is not known."""
        return self._numbers["power_limit_watts"]

    @property
    def clock_limit_mhz(self) -> Floats:
        """That the multiprocessors were allowed at most; NaN where it is not known."""
        return self._numbers["clock_limit_mhz"]

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
