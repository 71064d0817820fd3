"""What a table of measured rows says to the law ``work``: logarithms of energies and of seconds, and who shares what.

A row says an energy, or seconds, or both: seconds are an observation with noise, and a deviation of its shape, of their
own. Rows of one configuration are worked out once. Where idle power is in an energy, the
measured seconds at the laboratory's idle watts are added to what physics says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from analysis.laws.work import hierarchy, physics
from analysis.laws.work.blocks import Blocks, Groups
from analysis.laws.work.effects import IDLE, LEVEL, LOCAL, SHAPE_COLUMNS, Effects, N, Sets
from analysis.laws.work.hardware import CUDNN_SINCE, has_cudnn_attention
from analysis.laws.work.hierarchy import Layout, Spread
from analysis.laws.work.roofline import Demand, clocks, demand
from analysis.table import Floats, Integers, Table
from farm import catalog
from farm.domain.row import OWN_METER

# Seconds that differ from what is expected beforehand by more are not of one pass over all prompts: left out.
FARTHEST_SECONDS: Final = 8.0
_JOULES, _SECONDS = "joules", "seconds"  # the two kinds of observations

_CUDNN_DAY: Final = CUDNN_SINCE.toordinal() - date(1970, 1, 1).toordinal()
_KNOWN: Final = ("noise_groups", "spread_groups", "of_joules", "of_seconds")  # fields of Known

ShapeKey = tuple[Any, ...]  # the values of SHAPE_COLUMNS, and the data set where it is said
LeftOut = list[dict[str, Any]]  # as of analysis.laws.base


@dataclass(frozen=True, slots=True)
class Observed:
    """The observations y (n,) and the model of them: first the energies of rows, then the seconds of rows."""

    model: hierarchy.Model
    y: Floats
    layout: Layout
    extra_variance: Floats
    weight: Floats
    known: Known
    idles: Idles
    days: Days
    left_out: LeftOut

    @classmethod
    def of(cls, table: Table, energy_joules: Floats, weight: Floats | None, effects: Effects) -> Self:
        days, stated = Days.of(table), np.flatnonzero(np.isfinite(energy_joules))
        first, alike = _configurations(table, days.cudnn(table))
        distinct = table.take(first)
        shapes_of_calls, shape = distinct.groups(*SHAPE_COLUMNS, "dataset")
        physical = _Physics.of(distinct, (shapes_of_calls, shape), days, effects)
        expected = physical.prior_seconds()[alike]
        timed, left_out = _timed(table, expected)
        has_time = np.unique(alike[timed])  # configurations
        place_of_time = np.full(len(distinct), -1, dtype=np.int64)
        place_of_time[has_time] = len(distinct) + np.arange(len(has_time))
        rows = distinct.take(shapes_of_calls)
        timed_shapes, timed_shape = np.unique(shape[has_time], return_inverse=True)
        known, layout = Known.of(
            rows,
            distinct,
            np.concatenate([alike[stated], place_of_time[alike[timed]]]),
            (shape, timed_shape),
            timed_shapes,
            has_time,
        )
        idles = Idles.of(table)
        seconds = np.where(table.duration_seconds > 0, table.duration_seconds, expected)
        above = np.maximum(energy_joules + idles.beyond_catalog(table) * seconds, 0.05 * energy_joules)
        weight = np.ones(len(table)) if weight is None else weight / weight.mean()
        run_variance = np.nan_to_num(table.energy_std_joules / energy_joules, nan=0.0) ** 2
        return cls(
            model=physical.model(has_time),
            y=np.log(np.concatenate([above[stated], table.duration_seconds[timed]])),
            layout=layout,
            extra_variance=np.concatenate([run_variance[stated], np.zeros(len(timed))]),
            weight=np.concatenate([weight[stated], weight[timed]]),
            known=known,
            idles=idles,
            days=days,
            left_out=left_out,
        )


@dataclass(frozen=True, slots=True)
class Known:
    """The groups of equal noise and the shapes of a fit, by their names: what a fit keeps to find them again.

    ``noise_groups``: (kind of observation, model, data set) of each. ``spread_groups``: (kind, model). ``of_joules``:
    the columns of each shape of energies, its data set last, in the order of the shapes; ``of_seconds`` those of the
    shapes of seconds, which come after them.
    """

    noise_groups: tuple[tuple[str, str, str], ...]
    spread_groups: tuple[tuple[str, str], ...]
    of_joules: tuple[ShapeKey, ...]
    of_seconds: tuple[ShapeKey, ...]

    @classmethod
    def of(
        cls,
        shape_rows: Table,
        distinct: Table,
        alike: Integers,
        shapes: tuple[Integers, Integers],
        timed_shapes: Integers,
        has_time: Integers,
    ) -> tuple[Self, Layout]:
        """Of a fit's shapes (one row of each) and configurations, the former of energies first, then of seconds."""
        groups = [(_JOULES, *pair) for pair in _pairs(distinct)]
        groups += [(_SECONDS, *pair) for pair in _pairs(distinct.take(has_time))]
        noise_groups, noise = _numbered(groups)
        models = shape_rows.model.tolist()
        spread_groups, of_shape = _numbered(
            [(_JOULES, model) for model in models] + [(_SECONDS, models[place]) for place in timed_shapes.tolist()]
        )
        keys = tuple(_shape_keys(shape_rows, "dataset"))
        timed = tuple(keys[shape] for shape in timed_shapes.tolist())
        shape = np.concatenate([shapes[0], len(keys) + shapes[1]])
        return cls(noise_groups, spread_groups, keys, timed), Layout(alike, noise[alike], shape, of_shape)

    def shapes(self, table: Table) -> tuple[Integers, Integers]:
        """The places of each row's shapes, of energies and of seconds, -1 for a new one, (n,) each. A shape that no row
        of the row's own data set is in is looked for in others: kernels are chosen by shape, whoever runs them."""
        places = np.full((len(table), 2), -1, dtype=np.int64)
        known = self._by_dataset()
        datasets = table.labels("dataset")
        for row, key in enumerate(_shape_keys(table)) if known else ():
            by_dataset = known.get(key)
            if by_dataset is not None:
                name = datasets.names[datasets.codes[row]]
                places[row] = by_dataset.get(name) or next(iter(by_dataset.values()))
        return places[:, 0], places[:, 1]

    def _by_dataset(self) -> dict[ShapeKey, dict[str, tuple[int, int]]]:
        """Of each shape by its columns and its data set: the places of its energies and of its seconds, -1 for none."""
        timed = {key: len(self.of_joules) + place for place, key in enumerate(self.of_seconds)}
        known: dict[ShapeKey, dict[str, tuple[int, int]]] = {}
        for place, key in enumerate(self.of_joules):
            known.setdefault(key[:-1], {})[str(key[-1])] = (place, timed.get(key, -1))
        return known

    def noise(self, sigma: Spread) -> dict[str, tuple[float, float]]:
        """By model the noise of its energies, over its data sets, and how many rows it has."""
        return _by_model([(kind, model) for kind, model, _ in self.noise_groups], sigma)

    def shape_spread(self, tau: Spread) -> dict[str, float]:
        """By model the spread of its shapes' energies."""
        return {model: spread for model, (spread, _) in _by_model(self.spread_groups, tau).items()}

    def pooled(self, sigma: Spread) -> float:
        """Noise of energies over all rows."""
        return _pooled([kind for kind, _, _ in self.noise_groups], sigma)

    def pooled_shapes(self, tau: Spread) -> float:
        """Spread of energies over all shapes."""
        return _pooled([kind for kind, _ in self.spread_groups], tau)

    def to_json(self) -> dict[str, Any]:
        return {name: [list(key) for key in getattr(self, name)] for name in _KNOWN}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        return cls(**{name: tuple(tuple(key) for key in data[name]) for name in _KNOWN})


@dataclass(frozen=True, slots=True)
class Idles:
    """The idle watts that laboratories took off their energies, where rows state them, by data set and GPU.

    A context that keeps the clocks up draws more than a board at rest (an H100: 122 W, 72 W), and some laboratories
    take the one off, some the other. The law's energies are above the catalog's watts at rest, whoever measured. A row
    of this project's own meter that does not state its watts has those of a context off: its baseline is taken with
    the pipeline resident.
    """

    stated: Mapping[str, Mapping[str, float]]  # GPU -> data set -> mean watts

    @classmethod
    def of(cls, table: Table) -> Self:
        sums: dict[str, dict[str, list[float]]] = {}
        rows = np.flatnonzero((table.idle_watts > 0) & ~table.includes_idle)
        gpus, datasets, watts = (values[rows].tolist() for values in (table.gpu, table.dataset, table.idle_watts))
        for gpu, dataset, value in zip(gpus, datasets, watts, strict=True):
            if not catalog.gpu(gpu).is_processor:
                sums.setdefault(gpu, {}).setdefault(dataset, []).append(value)
        return cls({gpu: {name: float(np.mean(w)) for name, w in by.items()} for gpu, by in sums.items()})

    def beyond_catalog(self, table: Table) -> Floats:
        """What was taken off each row beyond the watts of the catalog, (n,): by the row itself, or as its laboratory
        does on that GPU; rows of a laboratory that stated none are taken as the others on that GPU. 0 where nobody
        stated any, and where idle power is in the energy."""
        catalogued = idle_watts(table)
        result = np.where(table.idle_watts > 0, table.idle_watts, np.nan)
        first, group = table.groups("gpu", "dataset")
        usual, of_context = np.full(len(first), np.nan), np.full(len(table), np.nan)
        pairs = zip(table.gpu[first].tolist(), table.dataset[first].tolist(), strict=True)
        for place, (gpu, dataset) in enumerate(pairs):
            by_dataset = self.stated.get(gpu, {})
            if by_dataset:
                usual[place] = by_dataset.get(dataset, float(np.mean(list(by_dataset.values()))))
            elif (context := catalog.gpu(gpu).context_idle_watts) is not None:
                of_context[group == place] = context
            if catalog.gpu(gpu).is_processor:
                result[group == place] = np.nan
        result = np.where(np.isnan(result), usual[group], result)
        result = np.where(np.isnan(result) & (table.meter == OWN_METER), of_context, result)
        return np.where(table.includes_idle, 0.0, np.nan_to_num(result - catalogued))


@dataclass(frozen=True, slots=True)
class Days:
    """When the newest row of each GPU and data set was measured, in days from 1970: how new its kernels are."""

    newest: Mapping[str, Mapping[str, float]]  # GPU -> data set -> day

    @classmethod
    def of(cls, table: Table) -> Self:
        newest: dict[str, dict[str, float]] = {}
        rows = np.flatnonzero(np.isfinite(table.measured_day))
        gpus, datasets, days = (values[rows].tolist() for values in (table.gpu, table.dataset, table.measured_day))
        for gpu, dataset, day in zip(gpus, datasets, days, strict=True):
            by_dataset = newest.setdefault(gpu, {})
            by_dataset[dataset] = max(day, by_dataset.get(dataset, day))
        return cls(newest)

    def cudnn(self, table: Table) -> NDArray[np.bool_]:
        """Whether attention of each row is done by cuDNN, (n,): by its own day or, without one, by its laboratory's
        newest on that GPU or, without one, by anybody's. Where nobody knows a day, it is FlashAttention-2: most
        measurements that were published are older."""
        first, group = table.groups("gpu", "dataset")
        usual, able = np.full(len(first), np.nan), np.zeros(len(first), dtype=np.bool_)
        pairs = zip(table.gpu[first].tolist(), table.dataset[first].tolist(), strict=True)
        for place, (gpu, dataset) in enumerate(pairs):
            by_dataset = self.newest.get(gpu, {})
            if by_dataset:
                usual[place] = by_dataset.get(dataset, max(by_dataset.values()))
            able[place] = has_cudnn_attention(gpu)
        day = np.where(np.isnan(table.measured_day), usual[group], table.measured_day)
        return np.asarray(able[group] & (day >= _CUDNN_DAY), dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class _Physics:
    """The energies and seconds of m configurations as a function of the effects."""

    demand: Demand
    sets: Sets
    set_of_row: Integers
    idle_joules: Floats  # at the catalog's watts over the measured seconds; 0 where idle is not in the energy

    @classmethod
    def of(cls, distinct: Table, groups: tuple[Integers, Integers], days: Days, effects: Effects) -> Self:
        sets, set_of_row = effects.sets(distinct)
        seconds = np.where(distinct.includes_idle, np.nan_to_num(distinct.duration_seconds), 0.0)
        needed = demand(distinct, groups, days.cudnn(distinct))
        return cls(needed, sets, set_of_row, included_watts(distinct) * seconds)

    def prior_seconds(self) -> Floats:
        """Seconds (m,) by the priors alone."""
        response = physics.respond(self.demand, np.zeros((len(self.set_of_row), N)))
        seconds, _ = response.seconds(response.joules.sum(axis=1))
        return seconds

    def model(self, has_time: Integers) -> hierarchy.Model:
        """ln E of all configurations, then ln t of those that have measured seconds, by the effects."""
        groups = Groups.of(self.sets.basis, np.concatenate([self.set_of_row, self.set_of_row[has_time]]))

        def of(p: Floats) -> tuple[Floats, hierarchy.Jacobian]:
            numbers = self.sets.basis.numbers(p)[self.set_of_row]
            response = physics.respond(self.demand, numbers[:, :N])
            joules = response.joules.sum(axis=1) * np.exp(numbers[:, LEVEL])
            idle = self.idle_joules * np.exp(numbers[:, IDLE])
            seconds, by_work = response.seconds(joules)

            def jacobian() -> Blocks:
                share = (joules / (joules + idle))[:, None]
                local = share * of_energy(response.slope)
                local[:, [IDLE]] = 1 - share
                timed = of_seconds(response, by_work)[has_time]
                return Blocks(np.concatenate([local, timed]), groups)

            return np.log(np.concatenate([joules + idle, seconds[has_time]])), jacobian

        return of


def of_energy(slope: Floats) -> Floats:
    """Derivatives (n, 11) of ln E by the numbers of LOCAL; ``slope`` (n, 9): by the coefficients."""
    local = np.zeros((len(slope), len(LOCAL)))
    local[:, :N] = slope
    local[:, LEVEL] = 1.0
    return local


def of_seconds(response: physics.Response, by_work: Floats) -> Floats:
    """Derivatives (n, 11) of ln t by the numbers of LOCAL; ``by_work`` (n,): the part that follows the work."""
    local = (1 - by_work)[:, None] * of_energy(response.slope)
    local[:, :N] += by_work[:, None] * response.work_slope
    return local


def idle_watts(table: Table) -> Floats:
    """Of each row's GPU, by the catalog, (n,)."""
    first, group = table.groups("gpu")
    watts = [catalog.gpu(str(name)).idle_watts for name in table.gpu[first]]
    return np.array(watts, dtype=np.float64)[group]


def included_watts(table: Table) -> Floats:
    """Idle watts of rows that have them in their energy, before their laboratory's effect, (n,): stated, or by the
    catalog."""
    return np.where(table.idle_watts > 0, table.idle_watts, idle_watts(table))


def _configurations(table: Table, cudnn: NDArray[np.bool_]) -> tuple[Integers, Integers]:
    """Rows that physics cannot tell apart: a row of each, and the configuration of every row. Rows with idle
    power in their energy are alike where that is the same."""
    first, alike = table.groups(*SHAPE_COLUMNS, "dataset", "steps", "prompts")
    limits, limit = np.unique(np.nan_to_num(table.power_limit_watts), return_inverse=True)
    if cudnn.any():
        limits, limit = np.unique(2 * limit + cudnn, return_inverse=True)
    if ((clock := clocks(table)) < 1).any():
        several_clocks, of_row = np.unique(clock, return_inverse=True)
        limits, limit = np.unique(len(several_clocks) * limit + of_row, return_inverse=True)
    idle_joules = included_watts(table) * np.nan_to_num(table.duration_seconds)
    several, own = np.unique(np.where(table.includes_idle, idle_joules, -1.0), return_inverse=True)
    if len(limits) <= 1 and len(several) <= 1:
        return first, alike
    code = (alike * len(limits) + limit) * len(several) + own
    _, first, alike = np.unique(code, return_index=True, return_inverse=True)
    return first, alike


def _timed(table: Table, expected: Floats) -> tuple[Integers, LeftOut]:
    """Rows whose seconds are used, and what is left out."""
    known = table.duration_seconds > 0
    guessed = np.isin(table.gpu, [name for name in table.names("gpu") if catalog.gpu(name).is_processor])
    ratio = np.abs(np.log(np.where(known, table.duration_seconds, expected) / expected))
    far = known & ~guessed & (ratio > np.log(FARTHEST_SECONDS))
    why = f"{FARTHEST_SECONDS:g} times or an eighth of what the work takes: not of one pass over all prompts"
    entry = {"what": "seconds", "name": "duration_seconds", "why": why, "count": int(far.sum())}
    left_out: LeftOut = [{**entry, "numbers": table.number[far].tolist()}] if far.any() else []
    return np.flatnonzero(known & ~far), left_out


def _pairs(table: Table) -> Iterable[tuple[str, str]]:
    return zip(table.model.tolist(), table.dataset.tolist(), strict=True)


def _numbered(keys: list[Any]) -> tuple[tuple[Any, ...], Integers]:
    """The distinct keys in the order in which they came, and the number of each."""
    places: dict[Any, int] = {}
    numbers = [places.setdefault(key, len(places)) for key in keys]
    return tuple(places), np.array(numbers, dtype=np.int64)


def _by_model(groups: Iterable[tuple[str, str]], spread: Spread) -> dict[str, tuple[float, float]]:
    """By model the root mean square of its groups of energies, by their counts, and the sum of those."""
    sums: dict[str, tuple[float, float]] = {}
    for (kind, model), of_group, count in zip(groups, spread.of_group.tolist(), spread.count.tolist(), strict=True):
        if kind == _JOULES:
            squares, rows = sums.get(model, (0.0, 0.0))
            sums[model] = (squares + count * of_group**2, rows + count)
    return {model: (float(np.sqrt(squares / rows)), rows) for model, (squares, rows) in sums.items() if rows}


def _pooled(kinds: list[str], spread: Spread) -> float:
    energies = np.array([kind == _JOULES for kind in kinds], dtype=np.bool_)
    return Spread(spread.of_group[energies], spread.common, spread.count[energies]).pooled


def _shape_keys(table: Table, *more: str) -> list[ShapeKey]:
    columns = (np.asarray(getattr(table, name)).tolist() for name in (*SHAPE_COLUMNS, *more))
    return list(zip(*columns, strict=True))
