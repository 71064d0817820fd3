"""What configurations take, as columns and one by one: what ``farm predict`` prints, writes and draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from analysis.costs import Terms
from analysis.table import Floats, Table
from farm import catalog
from farm.domain import PHASES, Configuration
from farm.domain.units import JOULES_PER_KWH, JOULES_PER_WH

CONFIGURATION_KEYS: Final = tuple(Configuration.__dataclass_fields__)
_ASKED: Final = (
    "model", "gpu", "width", "height", "steps", "precision", "cfg", "batch", "prompts", "frames", "weights", "size",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value of every row and the bounds it lies between with the asked probability, (n,) each; NaN: not known."""

    value: Floats
    low: Floats
    high: Floats

    def __mul__(self, factor: float | Floats) -> Estimate:
        return Estimate(self.value * factor, self.low * factor, self.high * factor)

    def __add__(self, other: Estimate) -> Estimate:
        """The sum of two that err together: bounds add up."""
        return Estimate(self.value + other.value, self.low + other.low, self.high + other.high)

    def take(self, rows: Any) -> Estimate:
        return Estimate(self.value[rows], self.low[rows], self.high[rows])

    @classmethod
    def unknown(cls, n: int) -> Estimate:
        return cls(np.full(n, np.nan), np.full(n, np.nan), np.full(n, np.nan))


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """One configuration: the energy of all prompts and what it stands for. None is what is not known, or not asked."""

    configuration: Configuration
    energy_joules: float  # above idle
    low_joules: float  # the energy of one run lies between low and high with probability `level`
    high_joules: float
    level: float
    duration_seconds: float | None  # None from a law that knows no time
    low_seconds: float | None
    high_seconds: float | None
    phases: Mapping[str, float | None]  # text, denoise, decode; None from a law that knows no phases
    rests_on: str
    law: str
    fit_id: int | None  # of the farm's database
    energy_joules_per_image: float
    watt_hours: float
    energy_joules_with_idle: float | None  # None from a law that knows no time
    low_joules_with_idle: float | None
    high_joules_with_idle: float | None
    counted: str  # what is in the energy with idle, and so in grams and cost
    fits: bool | None  # whether the GPU type has the memory, as is asked before a job is queued
    fits_why: str | None  # None where it has
    grams_co2e: float | None
    low_grams_co2e: float | None
    high_grams_co2e: float | None
    carbon_source: str | None
    cost: float | None
    low_cost: float | None
    high_cost: float | None
    per_day: Mapping[str, float | None] | None = None
    score: float | None = None
    on_front: bool | None = None  # None: no front was asked for

    def to_dict(self) -> dict[str, Any]:
        """What `farm predict --json` prints of one configuration."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        wanted = {name: value for name, value in values.items() if value is not None or name not in _OPTIONAL}
        wanted["configuration"] = self.configuration.to_dict()
        return {**self.configuration.to_dict(), **wanted}


_OPTIONAL: Final = ("per_day", "score", "on_front", "carbon_source")  # keys that are there only where asked for


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions(Sequence[Prediction]):
    """What n configurations take, as columns; indexing gives a Prediction, a slice or mask fewer of them."""

    table: Table
    energy: Estimate  # joules above idle, of all prompts
    seconds: Estimate  # of one pass over all prompts
    phases: Mapping[str, Floats] | None  # joules
    idle_watts: Floats  # of the GPU type
    fits: Sequence[bool | None]
    fits_why: Sequence[str | None]
    rests_on: Sequence[str]
    terms: Terms
    level: float
    law: str
    fit_id: int | None = None
    score: Floats | None = None  # of a user's table of quality, NaN where it says nothing
    on_front: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.table)

    @overload
    def __getitem__(self, key: int) -> Prediction: ...
    @overload
    def __getitem__(self, key: slice) -> Predictions: ...
    def __getitem__(self, key: int | slice) -> Prediction | Predictions:
        if not isinstance(key, (int, np.integer)):
            return self.take(key)
        if not -len(self) <= key < len(self):
            raise IndexError(key)
        here = self.take([key])
        columns = {name: values[0] for name, values in here.columns().items()}
        names = Prediction.__dataclass_fields__.keys() & columns.keys()
        return Prediction(
            configuration=by_entry(here.table).configuration(0),
            phases={phase: columns[f"{phase}_joules"] for phase in PHASES},
            per_day={name.removesuffix("_per_day"): value for name, value in columns.items() if "_per_day" in name}
            or None,
            **{name: columns[name] for name in names},
        )

    def __iter__(self) -> Iterator[Prediction]:
        return (self[place] for place in range(len(self)))

    def take(self, rows: Any) -> Predictions:
        """Those that a mask, a slice or positions pick, in that order."""
        picked = np.atleast_1d(np.arange(len(self))[rows if isinstance(rows, slice) else np.asarray(rows)])
        places = picked.tolist()
        return replace(
            self,
            table=self.table.take(picked),
            energy=self.energy.take(picked),
            seconds=self.seconds.take(picked),
            phases=None if self.phases is None else {name: joules[picked] for name, joules in self.phases.items()},
            idle_watts=self.idle_watts[picked],
            fits=[self.fits[place] for place in places],
            fits_why=[self.fits_why[place] for place in places],
            rests_on=[self.rests_on[place] for place in places],
            score=None if self.score is None else self.score[picked],
            on_front=None if self.on_front is None else self.on_front[picked],
        )

    # --- what the energies stand for

    def energy_with_idle(self) -> Estimate:
        """Joules with the idle power of the GPU, and of the rest of the host where its watts are given."""
        return self.energy + self.seconds * (self.idle_watts + self.terms.host_watts)

    def grams_co2e(self) -> Estimate:
        """Of the energy with idle; NaN where no electricity was named."""
        return self._priced(self.terms.intensity)

    def cost(self) -> Estimate:
        """Of the energy with idle, in the currency of the price; NaN where there is none."""
        return self._priced(self.terms.price)

    def _priced(self, per_kwh: float | None) -> Estimate:
        if per_kwh is None:
            return Estimate.unknown(len(self))
        return self.energy_with_idle() * (self.terms.pue * per_kwh / JOULES_PER_KWH)

    def measure(self, name: str) -> Estimate:
        """energy, seconds, grams or cost, of all prompts, by the word that options use."""
        made = {"seconds": lambda: self.seconds, "grams": self.grams_co2e, "cost": self.cost}
        return made.get(name, lambda: self.energy)()

    def columns(self) -> dict[str, list[Any]]:
        """A list of n for each key of the document, JSON-ready: None for what is not known."""
        images = 1.0 / self.table.prompts
        named: dict[str, list[Any]] = {
            **_estimates("energy_joules", "{}_joules", self.energy),
            "level": [self.level] * len(self),
            **_estimates("duration_seconds", "{}_seconds", self.seconds),
            **{f"{phase}_joules": _phase(self.phases, phase, len(self)) for phase in PHASES},
            "energy_joules_per_image": _listed(self.energy.value * images),
            "watt_hours": _listed(self.energy.value / JOULES_PER_WH),
            **_estimates("energy_joules_with_idle", "{}_joules_with_idle", self.energy_with_idle()),
            **_estimates("grams_co2e", "{}_grams_co2e", self.grams_co2e()),
            **_estimates("cost", "{}_cost", self.cost()),
            "fits": list(self.fits),
            "fits_why": list(self.fits_why),
            "counted": self._counted(),
            "carbon_source": [self.terms.carbon_source()] * len(self),
            "rests_on": list(self.rests_on),
            "law": [self.law] * len(self),
            "fit_id": [self.fit_id] * len(self),
        }
        if self.terms.per_day is not None:
            named |= self._per_day(self.terms.per_day)
        if self.score is not None:
            named["score"] = _listed(self.score)
        if self.on_front is not None:
            named["on_front"] = self.on_front.tolist()
        return named

    def configuration_columns(self) -> dict[str, list[Any]]:
        """A list of n for each key of a configuration."""
        table = by_entry(self.table)
        return {name: np.asarray(getattr(table, name)).tolist() for name in CONFIGURATION_KEYS}

    def varied_and_shared(self) -> tuple[dict[str, list[Any]], dict[str, Any]]:
        """The keys of the configurations that differ, with their values, and those that do not; ``pixels`` as words."""
        keys = {name: values for name, values in self.configuration_columns().items() if name in _ASKED}
        sides = [f"{width}x{height}" for width, height in zip(keys.pop("width"), keys.pop("height"), strict=True)]
        keys = {"model": keys.pop("model"), "gpu": keys.pop("gpu"), "pixels": sides, **keys}
        varied = {name: values for name, values in keys.items() if len(set(values)) > 1}
        return varied, {name: values[0] for name, values in keys.items() if name not in varied}

    def document_columns(self) -> dict[str, list[Any] | dict[str, list[Any]]]:
        """The documents of `farm predict --json`, key by key: a list of n for each, or one for each key of an inner
        document."""
        columns = self.columns()
        phases = {phase: columns.pop(f"{phase}_joules") for phase in PHASES}
        per_day = {name.replace("_per_day", ""): columns.pop(name) for name in [*columns] if "_per_day" in name}
        whole: dict[str, list[Any] | dict[str, list[Any]]] = {**self.configuration_columns(), **columns}
        whole["phases"] = phases
        if per_day:
            whole["per_day"] = per_day
        return whole

    def to_dicts(self) -> list[dict[str, Any]]:
        """The documents of `farm predict --json`, one a configuration."""
        whole = {
            name: [dict(zip(values, inner, strict=True)) for inner in zip(*values.values(), strict=True)]
            if isinstance(values, dict)
            else values
            for name, values in self.document_columns().items()
        }
        return [dict(zip(whole, values, strict=True)) for values in zip(*whole.values(), strict=True)]

    def to_pandas(self) -> Any:
        """A data frame: a row a configuration, a column a key."""
        import pandas

        return pandas.DataFrame({**self.configuration_columns(), **self.columns()})

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        import pyarrow

        table = pyarrow.table({**self.configuration_columns(), **self.columns()})
        return table.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        from analysis.table.display import grid

        keys = ("model", "gpu", "width", "height", "steps", "precision", "cfg", "prompts", "batch")
        shown = {name: values for name, values in self.configuration_columns().items() if name in keys}
        numbers = self.columns()
        shown |= {name: numbers[name] for name in ("energy_joules", "low_joules", "high_joules", "duration_seconds")}
        return f"{len(self)} predictions, law {self.law}\n" + grid(shown)

    def _counted(self) -> list[str]:
        words = {watts: self.terms.counted(watts) for watts in set(self.idle_watts.tolist())}
        if np.isnan(self.seconds.value).any():
            return [f"law {self.law} knows no time: energy with idle, grams and cost are not known"] * len(self)
        return [words[watts] for watts in self.idle_watts.tolist()]

    def _per_day(self, images: int) -> dict[str, list[Any]]:
        share = images / self.table.prompts
        named: dict[str, list[Any]] = {"images_per_day": [images] * len(self)}
        made = {
            "kilowatt_hours": self.energy * (1 / JOULES_PER_KWH),
            "kilowatt_hours_with_idle": self.energy_with_idle() * (1 / JOULES_PER_KWH),
            "gpu_hours": self.seconds * (1 / 3600),
            "grams_co2e": self.grams_co2e(),
            "cost": self.cost(),
        }
        for name, estimate in made.items():
            named |= _estimates(f"{name}_per_day", f"{{}}_{name}_per_day", estimate * share)
        return named


def by_entry(table: Table) -> Table:
    """The same rows under the names of the catalog's entries: a build at nano size under its model's."""
    known = catalog.models()
    builds = [name for name in table.names("model") if name.endswith(catalog.NANO) and name not in known]
    return table.renamed("model", {name: name.removesuffix(catalog.NANO) for name in builds}) if builds else table


def _estimates(name: str, bound: str, estimate: Estimate) -> dict[str, list[Any]]:
    return {
        name: _listed(estimate.value),
        bound.format("low"): _listed(estimate.low),
        bound.format("high"): _listed(estimate.high),
    }


def _listed(values: Floats) -> list[Any]:
    finite = np.isfinite(values)
    if finite.all():
        return list(values.tolist())
    if not finite.any():
        return [None] * len(values)
    return [value if good else None for value, good in zip(values.tolist(), finite.tolist(), strict=True)]


def _phase(phases: Mapping[str, Floats] | None, phase: str, n: int) -> list[Any]:
    return [None] * n if phases is None else _listed(phases[phase])
