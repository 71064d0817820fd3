"""What configurations take, from whatever is known: ``analysis.predict``, and what ``farm predict`` prints.

One forecast of a fitted law answers for a whole table. A page, a report and the commands call :func:`answer`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from analysis import laws, shipped
from analysis.costs import Terms
from analysis.laws.base import LEVEL, Law
from analysis.table import DataError, Floats, Table
from farm import catalog
from farm.catalog import memory
from farm.domain import PHASES, Configuration
from farm.domain.errors import RequestError
from farm.domain.parsing import split_sides
from farm.domain.units import JOULES_PER_KWH, WATT_HOUR

FITS_KEPT: Final = 8  # fits that a process keeps for further calls of `predict`
CONFIGURATION_KEYS: Final = tuple(Configuration.__dataclass_fields__)
# Rows that agree in these are refused alike, and need the same memory.
_REFUSED_BY: Final = ("model", "gpu", "size", "width", "height", "steps", "cfg")
_MEMORY_OF: Final = ("model", "gpu", "size", "width", "height", "precision", "batch")


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
            configuration=_by_entry(here.table).configuration(0),
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
            "watt_hours": _listed(self.energy.value / WATT_HOUR),
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
        table = _by_entry(self.table)
        return {name: np.asarray(getattr(table, name)).tolist() for name in CONFIGURATION_KEYS}

    def to_dicts(self) -> list[dict[str, Any]]:
        """The documents of `farm predict --json`, one a configuration."""
        columns = self.columns()
        phases = list(zip(*(columns.pop(f"{phase}_joules") for phase in PHASES), strict=True))
        columns["phases"] = [dict(zip(PHASES, values, strict=True)) for values in phases]
        days = [name for name in columns if "_per_day" in name]
        if days:
            short = [name.replace("_per_day", "") for name in days]
            per_day = zip(*(columns.pop(name) for name in days), strict=True)
            columns["per_day"] = [dict(zip(short, values, strict=True)) for values in per_day]
        whole = {**self.configuration_columns(), **columns}
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


# --- from a fitted law


def answer(
    fitted: Law,
    table: Table,
    *,
    terms: Terms | None = None,
    level: float = LEVEL,
    source: str = "",
    fit_id: int | None = None,
) -> Predictions:
    """What a fitted law says of every row of a table, each of which its model must be able to take.

    ``source`` says in words where the law's rows came from. The bounds of seconds have the relative width of those of
    energy: most of what is uncertain is how long the work takes. See :func:`refusals` for rows that cannot be answered.
    """
    forecast = fitted.forecast(table, level)
    energy = Estimate(forecast.joules, forecast.low, forecast.high)
    if forecast.seconds is None:
        seconds = Estimate.unknown(len(table))
    else:
        factor = forecast.seconds / forecast.joules
        seconds = Estimate(forecast.seconds, forecast.low * factor, forecast.high * factor)
    fits_why = _shortages(table)
    return Predictions(
        table=table,
        energy=energy,
        seconds=seconds,
        phases=forecast.phases,
        idle_watts=_of_gpus(table),
        fits=[why is None for why in fits_why],
        fits_why=fits_why,
        rests_on=_words(fitted, table, source),
        terms=terms or Terms(),
        level=level,
        law=fitted.name,
        fit_id=fit_id,
    )


def refusals(table: Table) -> dict[int, RequestError]:
    """Why rows cannot be answered, by their place: the catalog lacks the model or the GPU type, or the model cannot
    make the image."""
    first, group = table.groups(*_REFUSED_BY)
    wrong: dict[int, RequestError] = {}
    for place, configuration in enumerate(_by_entry(table.take(first)).configurations()):
        try:
            catalog.check(configuration)
        except RequestError as error:
            wrong[place] = error
    if not wrong:
        return {}
    return {row: wrong[place] for row, place in enumerate(group.tolist()) if place in wrong}


def _by_entry(table: Table) -> Table:
    """The same rows under the names of the catalog's entries: a build at nano size under its model's."""
    known = catalog.models()
    builds = [name for name in table.names("model") if name.endswith(catalog.NANO) and name not in known]
    return table.renamed("model", {name: name.removesuffix(catalog.NANO) for name in builds}) if builds else table


def _shortages(table: Table) -> list[str | None]:
    first, group = table.groups(*_MEMORY_OF)
    whys = [memory.explain(configuration) for configuration in _by_entry(table.take(first)).configurations()]
    return [whys[place] for place in group.tolist()]


def _of_gpus(table: Table) -> Floats:
    """Typical idle power of each row's GPU type, watts."""
    label = table.labels("gpu")
    watts = np.array([catalog.gpu(name).idle_watts if name in catalog.gpus() else np.nan for name in label.names])
    return np.asarray(watts[label.codes])


def _words(fitted: Law, table: Table, source: str) -> list[str]:
    first, group = table.groups(*fitted.rests_on_columns)
    words = [fitted.rests_on(table.take([row])) for row in first.tolist()]
    whole = [f"{text} ({source})" if source else text for text in words]
    return [whole[place] for place in group.tolist()]


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
    return [value if good else None for value, good in zip(values.tolist(), finite.tolist(), strict=True)]


def _phase(phases: Mapping[str, Floats] | None, phase: str, n: int) -> list[Any]:
    return [None] * n if phases is None else _listed(phases[phase])


# --- in a notebook


@overload
def predict(
    configurations: None = None,
    *,
    model: str,
    gpu: str,
    resolution: int | tuple[int, int],
    steps: int,
    precision: str,
    cfg: bool = False,
    prompts: int = 1,
    batch: int = 1,
    data: Any = None,
    law: str | Law = laws.DEFAULT,
    level: float = LEVEL,
    terms: Terms | None = None,
) -> Prediction: ...
@overload
def predict(
    configurations: Configuration,
    *,
    data: Any = None,
    law: str | Law = laws.DEFAULT,
    level: float = LEVEL,
    terms: Terms | None = None,
) -> Prediction: ...
@overload
def predict(
    configurations: Any,
    *,
    data: Any = None,
    law: str | Law = laws.DEFAULT,
    level: float = LEVEL,
    terms: Terms | None = None,
) -> Predictions: ...
def predict(
    configurations: Any = None,
    *,
    model: str | None = None,
    gpu: str | None = None,
    resolution: int | tuple[int, int] | None = None,
    steps: int | None = None,
    precision: str | None = None,
    cfg: bool = False,
    prompts: int = 1,
    batch: int = 1,
    data: Any = None,
    law: str | Law = laws.DEFAULT,
    level: float = LEVEL,
    terms: Terms | None = None,
) -> Prediction | Predictions:
    """Joules with an interval, by phase, seconds, carbon and cost: of one configuration or of many.

    ``predict(model="flux", gpu="a100", resolution=1024, steps=28, precision="fp16")`` gives a Prediction,
    ``predict(frame)`` Predictions. The law is fitted once; later calls of a process with the same rows use that fit.

    Args:
        configurations: a Configuration; or many, anything that Table.of takes: a list of configurations or mappings, a
            data frame, a Table, a file. Instead of the keywords up to ``batch``.
        model: catalog name, or what it is called elsewhere: ``FLUX.1-dev``; or a folder in diffusers layout.
        gpu: catalog name, or what it is called elsewhere: ``NVIDIA A100-SXM4-80GB``.
        resolution: pixels of a square's side, or (width, height).
        steps: denoising steps.
        precision: fp16, bf16 or fp32.
        cfg: classifier-free guidance.
        prompts: images in total.
        batch: images at once.
        data: the only measured rows to use, anything that Table.of takes, none at all too; by default the rows that
            ship with the project.
        law: its name, or a law that is fitted already.
        level: of the interval.
        terms: whose electricity, what it costs, what else is counted.

    Raises:
        RequestError: naming the field, its value and what would be right.
    """
    one = {"model": model, "gpu": gpu, "resolution": resolution, "steps": steps, "precision": precision}
    if configurations is None:
        configurations = _configuration({**one, "cfg": cfg, "prompts": prompts, "batch": batch})
    elif any(value is not None for value in one.values()):
        raise RequestError("model", model, "the keywords of one configuration, or configurations, not both")
    table = Table.of(configurations)
    for row, error in refusals(table).items():
        if isinstance(configurations, Configuration):
            raise error
        raise DataError(f"row {row + 1}, {error.field}", error.value, error.remedy)
    fitted = law if isinstance(law, Law) else _kept_fit(law, data)
    source = shipped.WORDS if data is None and not isinstance(law, Law) else ""
    answers = answer(fitted, table, terms=terms, level=level, source=source)
    return answers[0] if isinstance(configurations, Configuration) else answers


def _configuration(values: Mapping[str, Any]) -> Configuration:
    from analysis.work.models import find

    for name, value in values.items():
        if value is None:
            raise RequestError(name, value, "required, or configurations as the first argument")
    side = values["resolution"]
    width, height = side if isinstance(side, tuple) else split_sides(side)
    names = {"model": find(str(values["model"])), "gpu": catalog.find_gpu(str(values["gpu"])).name}
    return Configuration.from_mapping(
        {**{k: v for k, v in values.items() if k != "resolution"}, "width": width, "height": height, **names}
    )


_FITS: Final[OrderedDict[tuple[str, str, str], Law]] = OrderedDict()


def _entries(rows: Table) -> str:
    """The digests of the catalog's entries that these rows are of: a fit is of them, too."""
    models, gpus = catalog.models(), catalog.gpus()
    digests = [models[name].digest for name in rows.names("model") if name in models]
    return " ".join([*digests, *(gpus[name].digest for name in rows.names("gpu") if name in gpus)])


def _kept_fit(name: str, data: Any) -> Law:
    """The law fitted to these rows: once in a process, for what it was asked for lately."""
    rows = shipped.shipped_rows() if data is None else Table.of(data)
    key = (name, f"{rows.digest()} {' '.join(rows.flags.tolist())}", _entries(rows))
    if key not in _FITS:
        _FITS[key] = laws.get(name)().fit(rows)
        while len(_FITS) > FITS_KEPT:
            _FITS.popitem(last=False)
    _FITS.move_to_end(key)
    return _FITS[key]


def law(name: str = laws.DEFAULT, **settings: Any) -> Law:
    """A law by its name, not fitted yet."""
    return laws.get(name)(**settings)


def paper_rows() -> Table:
    """The 200 A100 rows of the three transformers of arXiv 2511.17031v2: a part of the data set ``paper``, of no data
    set here. All rows that ship: :func:`analysis.shipped.shipped_rows`."""
    return Table.read(shipped.TRANSFORMERS)
