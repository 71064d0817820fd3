"""Law ``work``: energy above idle from the work of a configuration and the published figures of its GPU.

Eight coefficients, each with a physical reading, near a centre that published figures give; a model, a GPU and a data
set may differ from what is shared by as much as their rows show. See :mod:`analysis.laws.work.physics` for the sum of
terms, :mod:`analysis.laws.work.roofline` for the seconds in it, :mod:`analysis.laws.work.effects` for the priors and
:mod:`analysis.laws.work.hierarchy` for the fit. Without any row the law is its priors.

Rows of a model whose work is not tabulated, or of a GPU that the catalog does not have, are left out and listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from analysis.laws.base import Forecast, Law
from analysis.laws.work import hierarchy, physics
from analysis.laws.work.blocks import Blocks
from analysis.laws.work.effects import CELL_COLUMNS, Effects, Members
from analysis.laws.work.hardware import SHARES
from analysis.laws.work.hierarchy import Cells, Posterior
from analysis.laws.work.physics import COEFFICIENTS, HOST_SECONDS, LAUNCH_SECONDS
from analysis.laws.work.roofline import demand
from analysis.table import Floats, Integers, Table
from analysis.work import load
from farm import catalog
from farm.domain import PHASES
from farm.domain.errors import FarmError

# Degrees of freedom of the interval: the spreads of priors are known no better than a handful of groups would tell.
KNOWN_DEGREES: Final = 20.0
STRANGE_DEGREES: Final = 6.0
SLOWNESS_STD: Final = 0.2  # prior of the logarithm of measured over computed seconds
_SECONDS_NOISE: Final = 0.05
_CHUNK: Final = 50_000  # rows a pass: bounds the memory


class WorkLaw(Law):
    """The project's own law. ``params_``: shares of (board power - idle) drawn by each class of work and while waiting
    (``share_...``), ``launch_microseconds``, ``host_seconds_per_megapixel``, ``noise`` and ``cell_spread`` (relative),
    and every group's factors (``factor_...``)."""

    version: ClassVar[int] = 1
    minimum_rows: ClassVar[int] = 0

    _effects: Effects
    _posterior: Posterior
    _cell_places: dict[str, int]
    _slowness: float
    _before: tuple[Effects, Posterior] | None = None  # where the next fit begins, if not at the priors

    # --- fitting

    def updated(self, X: Any) -> WorkLaw:
        """A fit to all these rows whose steps begin at this one's end; it ends where a fit from the priors does."""
        fresh = self.fresh()
        fresh._before = (self._effects, self._posterior)
        return fresh.fit(X)

    def _fit(self, table: Table, energy_joules: Floats, weight: Floats | None) -> None:
        weight = np.ones(len(table)) if weight is None else weight / weight.mean()
        effects = Effects.of(table)
        start = self._start(effects)
        first, alike = table.groups(*CELL_COLUMNS, "dataset", "steps", "prompts")
        distinct = table.take(first)  # what is measured often is worked out once
        representative, cell = distinct.groups(*CELL_COLUMNS)
        asked, members = demand(distinct, (representative, cell)), effects.members(distinct)
        boards, board = distinct.groups("model", "gpu")  # rows of the same coefficients
        each_board = {kind: places[boards] for kind, places in members.items()}
        basis = effects.basis(each_board)

        def model(p: Floats) -> tuple[Floats, hierarchy.Jacobian]:
            response = physics.respond(asked, effects.coefficients(p, each_board)[board])
            eta = np.log(response.joules.sum(axis=1)) + effects.level(p, members)
            return eta, lambda: Blocks(effects.local(response.slope, members["dataset"]), basis, board)

        run_variance = np.nan_to_num(table.energy_std_joules / energy_joules, nan=0.0) ** 2
        posterior = hierarchy.solve(model, np.log(energy_joules), effects.std, alike, cell, run_variance, weight, start)
        self._effects, self._posterior = effects, posterior
        self._cell_places = {key: place for place, key in enumerate(_cell_keys(distinct.take(representative)))}
        response = physics.respond(asked, effects.coefficients(posterior.p, members))
        self._slowness = self._fit_seconds(table, response.seconds.sum(axis=1)[alike])
        self.params_, self.params_std_ = self._readings()

    def _unknown(self, table: Table) -> dict[str, NDArray[np.bool_]]:
        """Beside what every law leaves out: GPUs without figures, models without work, guidance that a model lacks."""
        masks = super()._unknown(table)
        for name in sorted(set(table.names("gpu")) - set(catalog.gpus())):
            masks[f"gpu {name} is not in the catalog"] = table.gpu == name
        for name in filter(catalog.has_build, table.names("model")):
            try:
                load.load(name)
            except FarmError as error:
                masks[f"model {name}: its work is not known ({error})"] = table.model == name
                continue
            if not catalog.build(name).takes_guidance:
                masks[f"model {name} has no classifier-free guidance"] = (table.model == name) & table.cfg
        return masks

    def _start(self, effects: Effects) -> Floats:
        if self._before is None:
            return np.zeros(len(effects.std))
        (old, posterior), self._before = self._before, None
        known = dict(zip(old.labels, posterior.p.tolist(), strict=True))
        return np.array([known.get(label, 0.0) for label in effects.labels])

    def _fit_seconds(self, table: Table, computed: Floats) -> float:
        """Logarithm of measured over computed seconds (n,), shrunk to 0."""
        timed = np.flatnonzero(table.duration_seconds > 0)
        if not len(timed):
            return 0.0
        ratio = np.log(table.duration_seconds[timed] / computed[timed])
        worth = min(len(timed), 10) / _SECONDS_NOISE**2  # errors of one laboratory's rows go together
        return float(np.median(ratio) * worth / (worth + SLOWNESS_STD**-2))

    # --- predicting

    def _predict(self, table: Table) -> Floats:
        return np.concatenate([self._work_out(chunk).joules for chunk in _chunks(table)])

    def _forecast(self, table: Table, level: float) -> Forecast:
        """Predictive interval: E exp(+- t sqrt(V)), V the variance of ln E of one further run.

        V = (1 - k)^2 x' S x + c + u + s^2: S the covariance of all effects (Laplace), x their derivatives; k and c of
        the row's cell (how much its own rows settle, and what is left; 0 and tau^2 for a new cell); u the prior
        variance of groups that were never seen; s the noise of a run. Assumed: normal effects and noise in ln E, with
        spreads of models and GPUs that were fixed beforehand, hence t with 20 degrees of freedom, and with 6 where the
        model or the GPU is new. With three models no interval for a fourth is guaranteed, a conformal one neither.
        Gelman and Hill, Data Analysis Using Regression and Multilevel Models (2007), ch. 12.

        Seconds are the roofline's, times the ratio that measured seconds have to it; phases share the energy as the
        terms of physics do.
        """
        return Forecast.joined([self._forecast_chunk(self._work_out(chunk), level) for chunk in _chunks(table)])

    def _forecast_chunk(self, worked: _WorkedOut, level: float) -> Forecast:
        members, response, joules = worked.members, worked.response, worked.joules
        unknown_groups = (members["model"] < 0) | (members["gpu"] < 0)
        degrees = np.where(unknown_groups, STRANGE_DEGREES, KNOWN_DEGREES)
        half = stdtrit(degrees, (1 + level) / 2) * np.sqrt(self._variance(worked))
        runs = response.joules.shape[1] // len(PHASES)  # full batches, and the remainder where a row has one
        by_phase = response.joules.reshape(len(joules), runs, len(PHASES)).sum(axis=1)
        whole = by_phase.sum(axis=1)
        return Forecast(
            joules=joules,
            low=joules * np.exp(-half),
            high=joules * np.exp(half),
            seconds=response.seconds.sum(axis=1) * np.exp(self._slowness),
            phases={phase: by_phase[:, place] / whole * joules for place, phase in enumerate(PHASES)},
        )

    def _variance(self, worked: _WorkedOut) -> Floats:
        """Variance of ln E of one further run of each row, (n,)."""
        post, slope = self._posterior, worked.response.slope
        x = self._effects.jacobian(slope, worked.members)
        settled, remaining = self._cell_knowledge(worked.cell)
        shared = np.einsum("np,pq,nq->n", x, post.covariance, x, optimize=True)
        unseen = self._effects.strange_variance(slope, worked.members)
        variance: Floats = (1 - settled) ** 2 * shared + remaining + unseen + post.sigma**2
        return variance

    def _cell_knowledge(self, cell: Integers) -> tuple[Floats, Floats]:
        """The part of the shared error that each row's cell takes away, and the variance of its effect, (n,) each."""
        cells = self._posterior.cells
        settled = np.where(cell >= 0, _at(cells.known, cell), 0.0)
        return settled, np.where(cell >= 0, _at(cells.variance, cell), self._posterior.tau**2)

    def _work_out(self, table: Table) -> _WorkedOut:
        """Everything that energy, interval, seconds and phases of these rows rest on, once."""
        groups = table.groups(*CELL_COLUMNS)
        effects, post = self._effects, self._posterior
        members, cell = effects.members(table), self._places(table, groups)
        response = physics.respond(demand(table, groups), effects.coefficients(post.p, members))
        shift = np.where(cell >= 0, _at(post.cells.mean, cell), 0.0)
        joules = response.joules.sum(axis=1) * np.exp(effects.level(post.p, members) + shift)
        return _WorkedOut(members, cell, response, joules)

    def error_covariance(self, X: Any) -> tuple[Floats, float]:
        """(n, n) covariance of the errors that ``ln predict(X)`` may have, and the variance of one run beside it.

        What further rows would teach follows from it: see :mod:`analysis.design`.
        """
        self._require_fit()
        table = Table.of(X)
        effects, post = self._effects.union(Effects.of(table)), self._posterior
        known = {label: place for place, label in enumerate(self._effects.labels)}
        old = [place for place, label in enumerate(effects.labels) if label in known]
        theirs = [known[effects.labels[place]] for place in old]
        covariance = np.diag(effects.std**2)
        covariance[np.ix_(old, old)] = post.covariance[np.ix_(theirs, theirs)]
        worked = self._work_out(table)
        x = effects.jacobian(worked.response.slope, effects.members(table))
        settled, remaining = self._cell_knowledge(worked.cell)
        x *= 1 - settled[:, None]
        _, cell = table.groups(*CELL_COLUMNS)
        return x @ covariance @ x.T + np.where(cell[:, None] == cell, remaining, 0.0), post.sigma**2

    def _places(self, table: Table, groups: tuple[Integers, Integers]) -> Integers:
        """The place of each row's cell among those that were fitted, -1 for a new one, (n,); ``groups`` by
        CELL_COLUMNS."""
        if not self._cell_places:
            return np.full(len(table), -1, dtype=np.int64)
        first, cell = groups
        known = [self._cell_places.get(key, -1) for key in _cell_keys(table.take(first))]
        return np.array(known, dtype=np.int64)[cell]

    # --- what the numbers say

    def _readings(self) -> tuple[dict[str, Any], dict[str, Any]]:
        post, effects = self._posterior, self._effects
        spread = np.sqrt(np.diag(post.covariance))
        params: dict[str, Any] = {"noise": post.sigma, "cell_spread": post.tau}
        std: dict[str, Any] = {}
        for i, name in enumerate(COEFFICIENTS):
            label, centre = _READINGS[name]
            params[label] = float(centre * np.exp(post.p[i]))
            std[label] = float(params[label] * spread[i])
        for place, (kind, name, coefficient) in enumerate(effects.labels):
            if kind == "shared":
                continue
            column = f"factor_{kind}_{coefficient}".rstrip("_")
            value = float(np.exp(post.p[place]))
            params.setdefault(column, {})[name] = value
            std.setdefault(column, {})[name] = float(value * spread[place])
        return params, std

    def _state(self) -> dict[str, Any]:
        post = self._posterior
        return {
            "effects": self._effects.to_json(),
            "p": post.p.tolist(),
            "covariance": post.covariance.tolist(),
            "sigma": post.sigma,
            "tau": post.tau,
            "cells": {
                key: [float(post.cells.mean[i]), float(post.cells.variance[i]), float(post.cells.known[i])]
                for key, i in self._cell_places.items()
            },
            "slowness": self._slowness,
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._effects = Effects.from_json(state["effects"])
        self._cell_places = {key: place for place, key in enumerate(state["cells"])}
        mean, variance, known = np.array(list(state["cells"].values()), dtype=np.float64).reshape(-1, 3).T.copy()
        self._posterior = Posterior(
            np.array(state["p"]),
            np.array(state["covariance"]),
            float(state["sigma"]),
            float(state["tau"]),
            Cells(mean, variance, known),
        )
        self._slowness = float(state["slowness"])


@dataclass(frozen=True, slots=True)
class _WorkedOut:
    """Of n rows: the place of each among the known groups, and of its cell among the fitted ones (-1: a new one); the
    physics of its coefficients; its joules (n,)."""

    members: Members
    cell: Integers
    response: physics.Response
    joules: Floats


LAW: Final = WorkLaw

_READINGS: Final[Mapping[str, tuple[str, float]]] = {
    **{name: (f"share_{name}", share) for name, share in SHARES.items()},
    "launch": ("launch_microseconds", LAUNCH_SECONDS * 1e6),
    "host": ("host_seconds_per_megapixel", HOST_SECONDS),
}


def _chunks(table: Table) -> Iterator[Table]:
    """The rows in parts that bound the memory; one empty part of an empty table."""
    for start in range(0, max(len(table), 1), _CHUNK):
        yield table.take(slice(start, start + _CHUNK))


def _cell_keys(table: Table) -> list[str]:
    columns = (np.asarray(getattr(table, name)).tolist() for name in CELL_COLUMNS)
    return [" ".join(map(str, values)) for values in zip(*columns, strict=True)]


def _at(values: Floats, place: Integers) -> Floats:
    return values[np.maximum(place, 0)] if len(values) else np.zeros(len(place))
