"""Law ``work``: energy above idle, and seconds, from the work of a configuration and the published figures of its GPU.

Nine coefficients, each with a physical reading, near a centre that published figures give; a model, a GPU and a
laboratory may differ from what is shared by as much as their rows show. See :mod:`analysis.laws.work.physics` for the
sums of terms, :mod:`analysis.laws.work.demand` for the seconds in them, :mod:`analysis.laws.work.effects` for the
priors, :mod:`analysis.laws.work.observed` for what is fitted and :mod:`analysis.laws.work.hierarchy` for the fit.
Without any row the law is its priors.

Rows of a model whose work is not tabulated, or of a GPU that the catalog does not have, are left out and listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from analysis.laws import student
from analysis.laws.base import LEVEL as PROBABILITY
from analysis.laws.base import Forecast, Law
from analysis.laws.work import hierarchy, physics, stored
from analysis.laws.work.demand import demand
from analysis.laws.work.effects import IDLE, LEVEL, SHAPE_COLUMNS, Effects
from analysis.laws.work.hierarchy import GROUP_ROWS, Posterior
from analysis.laws.work.known import Known
from analysis.laws.work.laboratories import Days, Idles, idle_watts, included_watts
from analysis.laws.work.observed import Observed, of_energy, of_seconds
from analysis.laws.work.outlook import Outlook, WorkedOut
from analysis.laws.work.physics import COEFFICIENTS
from analysis.laws.work.readings import readings
from analysis.table import Floats, Integers, Table
from analysis.work import load
from farm import catalog
from farm.domain import PHASES, Configuration
from farm.domain.errors import FarmError

_LEAST_ABOVE_IDLE: Final = 0.1  # of the energy above the catalog's idle watts, whatever more a laboratory took off
_CHUNK: Final = 100_000  # rows a pass: bounds the memory


class WorkLaw(Law):
    """The project's own law. ``params_``: shares of (board power - idle) drawn by each class of work and while waiting
    (``share_...``), ``launch_microseconds``, ``host_seconds_per_megapixel``, ``pace`` (busy seconds over those of the
    roofline), ``noise`` and ``shape_spread`` (relative, of all rows), ``spread_of_models`` (over what is expected
    beforehand), and every group's factors (``factor_...``)."""

    version: ClassVar[int] = 5
    minimum_rows: ClassVar[int] = 0
    takes_seconds: ClassVar[bool] = True
    takes_videos: ClassVar[bool] = True
    rests_on_columns: ClassVar[tuple[str, ...]] = ("model", "gpu", "frames")
    takes_idle: ClassVar[bool] = True

    _effects: Effects
    _posterior: Posterior
    _known: Known
    _idles: Idles
    _days: Days
    _before: tuple[Effects, Posterior] | None = None  # where the next fit begins, if not at the priors

    # --- fitting

    def updated(self, X: Any) -> WorkLaw:
        """A fit to all these rows whose steps begin at this one's end; it ends where a fit from the priors does."""
        fresh = self.fresh()
        fresh._before = (self._effects, self._posterior)
        return fresh.fit(X)

    def _fit(self, table: Table, energy_joules: Floats, weight: Floats | None) -> None:
        effects = Effects.of(table)
        observed = Observed.of(table, energy_joules, weight, effects)
        self._effects, self._known = effects, observed.known
        self._idles, self._days = observed.idles, observed.days
        self._posterior = hierarchy.solve(
            observed.model,
            observed.y,
            effects.std,
            effects.scales,
            observed.layout,
            observed.extra_variance,
            observed.weight,
            self._start(effects),
        )
        self._effects = effects.learned(self._posterior.scale)
        self.left_out_ += observed.left_out
        self.params_, self.params_std_ = readings(effects, self._posterior, self._known)

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
            if not catalog.build(name).video:
                masks[f"model {name} makes images, of one frame"] = (table.model == name) & (table.frames > 1)
            if not catalog.build(name).takes_guidance:
                masks[f"model {name} has no classifier-free guidance"] = (table.model == name) & table.cfg
        return masks

    def _gaps(self, row: Configuration) -> list[str]:
        more = ["a video: by what images showed of its kinds of work"] if row.frames > 1 else []
        return super()._gaps(row) + more

    def _start(self, effects: Effects) -> Floats:
        if self._before is None:
            return np.zeros(len(effects.std))
        (old, posterior), self._before = self._before, None
        known = dict(zip(old.labels, posterior.p.tolist(), strict=True))
        return np.array([known.get(label, 0.0) for label in effects.labels])

    # --- predicting

    def _predict(self, table: Table) -> Floats:
        return np.concatenate([self._work_out(chunk).joules for chunk in _chunks(table)])

    def _forecast(self, table: Table, level: float) -> Forecast:
        """Predictive interval: E exp(+- t sqrt(V)), V the variance of ln E of one further run.

        V = (1 - k)^2 x' S x + c + s^2: S the covariance of the numbers that make the row's energy, from that of all
        effects (Laplace) and the prior variance of groups that were never seen; x the derivatives of ln E by them; k
        and c of the row's shape (how much its own rows settle, and what is left; 0 and tau^2 for a new shape); s the
        noise of a run, of the model where it has rows. Assumed: normal effects and noise in ln E, with spreads that
        were fixed beforehand but for the models' and the noise. Those have scaled inverse chi-squared posteriors, hence
        t with their degrees of freedom: of a model with rows GROUP_ROWS and its rows, of a new one SCALE_WORTH and what
        the effects of the known ones tell. With nine models no interval for a tenth is guaranteed, a conformal one
        neither.
        Gelman and Hill, Data Analysis Using Regression and Multilevel Models (2007), ch. 12.

        A row that includes idle power is predicted with it: the law's own seconds at the watts of its laboratory or,
        without those, of the catalog. Phases share the energy as the terms of physics do.
        """
        return Forecast.joined([self._forecast_chunk(self._work_out(chunk), level) for chunk in _chunks(table)])

    def _forecast_chunk(self, worked: WorkedOut, level: float) -> Forecast:
        noise, degrees = self._noise(worked)
        half = student.quantile(degrees, (1 + level) / 2) * np.sqrt(self._variance(worked) + noise**2)
        joules, response = worked.joules, worked.response
        runs = response.joules.shape[1] // len(PHASES)  # full batches, and the remainder where a row has one
        by_phase = response.joules.reshape(len(joules), runs, len(PHASES)).sum(axis=1)
        whole = by_phase.sum(axis=1)
        return Forecast(
            joules=joules,
            low=joules * np.exp(-half),
            high=joules * np.exp(half),
            seconds=worked.seconds,
            phases={phase: by_phase[:, place] / whole * joules for place, phase in enumerate(PHASES)},
            idle_watts=worked.idle_watts,
        )

    def _variance(self, worked: WorkedOut) -> Floats:
        """Variance of the logarithm of each row's energy, without the noise of a run, (n,)."""
        covariance = worked.sets.covariance(self._posterior.covariance)
        shared = np.zeros(len(worked.joules))
        order = np.argsort(worked.set_of_row, kind="stable")
        ends = np.cumsum(np.bincount(worked.set_of_row, minlength=len(covariance)))
        for of_set, rows in zip(covariance, np.split(order, ends), strict=False):
            x = worked.local[rows]
            shared[rows] = ((x @ of_set) * x).sum(axis=1)
        settled, remaining = self._shape_knowledge(worked)
        return np.asarray((1 - settled) ** 2 * shared + remaining)

    def _shape_knowledge(self, worked: WorkedOut) -> tuple[Floats, Floats]:
        """The part of the shared error that each row's shape takes away, and the variance of its effect, (n,) each."""
        post, shape = self._posterior, worked.shape
        settled = np.where(shape >= 0, _at(post.shapes.known, shape), 0.0)
        by_model = self._known.shape_spread(post.tau)
        of_model = np.array([by_model.get(model, post.tau.common) for model in worked.models])[worked.model]
        return settled, np.where(shape >= 0, _at(post.shapes.variance, shape), of_model**2)

    def _noise(self, worked: WorkedOut) -> tuple[Floats, Floats]:
        """Noise of one run of each row, and the degrees of freedom of its interval, (n,) each."""
        post = self._posterior
        by_model = self._known.noise(post.sigma)
        known = [by_model.get(model, (post.sigma.common, 0.0)) for model in worked.models]
        noise, rows = np.array(known, dtype=np.float64).reshape(-1, 2)[worked.model].T
        return noise, np.where(rows > 0, GROUP_ROWS + rows, post.scale_degrees)

    def _work_out(self, table: Table) -> WorkedOut:
        """Everything that energy, interval, seconds and phases of these rows rest on, once."""
        groups = table.groups(*SHAPE_COLUMNS)
        post = self._posterior
        sets, set_of_row = self._effects.sets(table)
        numbers = sets.basis.numbers(post.p)[set_of_row]
        response = physics.respond(demand(table, groups, self._days.cudnn(table)), numbers[:, : len(COEFFICIENTS)])
        first, group = groups
        shape, timed_shape = self._known.shapes(table.take(first))
        shift, timed_shift = (
            np.where(places >= 0, _at(post.shapes.mean, places), 0.0)[group] for places in (shape, timed_shape)
        )
        joules = response.joules.sum(axis=1) * np.exp(numbers[:, LEVEL] + shift)
        seconds, by_work = response.seconds(joules)
        seconds *= np.exp(timed_shift)
        local = of_energy(response.slope)
        included = included_watts(table) * np.exp(numbers[:, IDLE])
        beyond = self._idles.beyond_catalog(table)
        watts = np.where(table.includes_idle, included, -beyond)
        if watts.any():
            whole = np.maximum(joules + watts * seconds, _LEAST_ABOVE_IDLE * joules)
            share = joules / whole
            of_idle = of_seconds(response, by_work)
            of_idle[:, IDLE] = table.includes_idle
            local = share[:, None] * local + (1 - share)[:, None] * of_idle
            joules = whole
        models = table.labels("model")
        return WorkedOut(
            sets=sets,
            set_of_row=set_of_row,
            shape=shape[group],
            models=models.names,
            model=models.codes,
            response=response,
            local=local,
            joules=joules,
            seconds=seconds,
            idle_watts=idle_watts(table) + beyond,
        )

    def outlook(self, X: Any, level: float = PROBABILITY) -> Outlook:
        """The forecast of n rows, and how the errors that it may have hang together, worked out once.

        What further rows would teach follows from it: see :mod:`analysis.design`.
        """
        self._require_fit()
        table = self._able(X)
        worked = self._work_out(table)
        effects, post = self._effects.union(Effects.of(table)), self._posterior
        known = {label: place for place, label in enumerate(self._effects.labels)}
        old = [place for place, label in enumerate(effects.labels) if label in known]
        theirs = [known[effects.labels[place]] for place in old]
        covariance = np.diag(effects.std**2)
        covariance[np.ix_(old, old)] = post.covariance[np.ix_(theirs, theirs)]
        sets, group = effects.sets(table)
        x = np.einsum("nk,nkp->np", worked.local, sets.basis.dense()[group])
        settled, remaining = self._shape_knowledge(worked)
        x *= 1 - settled[:, None]
        _, shape = table.groups(*SHAPE_COLUMNS)
        noise, degrees = self._noise(worked)
        by_model = self._known.noise(post.sigma)
        rows = np.array([by_model.get(model, (0.0, 0.0))[1] for model in worked.models])
        return Outlook(
            forecast=self._forecast_chunk(worked, level),
            covariance=x @ covariance @ x.T + np.where(shape[:, None] == shape, remaining, 0.0),
            noise=noise**2,
            degrees=degrees,
            rows_of_model=rows[worked.model],
        )

    # --- saved and loaded

    def _state(self) -> dict[str, Any]:
        return {
            "effects": self._effects.to_json(),
            "known": self._known.to_json(),
            "idles": {gpu: dict(by_dataset) for gpu, by_dataset in self._idles.stated.items()},
            "days": {gpu: dict(by_dataset) for gpu, by_dataset in self._days.newest.items()},
            **stored.of_posterior(self._posterior),
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._effects = Effects.from_json(state["effects"])
        self._known = Known.from_json(state["known"])
        self._idles, self._days = Idles(state["idles"]), Days(state["days"])
        self._posterior = stored.posterior(state)


LAW: Final = WorkLaw


def _chunks(table: Table) -> Iterator[Table]:
    """The rows in parts that bound the memory; one empty part of an empty table."""
    for start in range(0, max(len(table), 1), _CHUNK):
        yield table.take(slice(start, start + _CHUNK))


def _at(values: Floats, place: Integers) -> Floats:
    return values[np.maximum(place, 0)] if len(values) else np.zeros(len(place))
