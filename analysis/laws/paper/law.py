"""Law ``paper``: Equations 3 and 4 of arXiv 2511.17031v2, by ordinary least squares.

    ln E[kWh] = ln A + alpha ln(FLOPs 2^cfg) + b_fp32 [fp32] + b_gpu [GPU] + b_res ln(H W / 256)
    FLOPs = N T FLOPs_denoise of one pass, in GFLOPs, by the formulas of the paper's Tables 3 to 5

fp16 is the baseline, and bf16 counts as fp16. The baseline of GPUs is the A100 where it has rows, else the first by
name. Text encoding, decoding and batch do not appear. For a model that the paper does not have, the exact count of its
denoiser stands in for the formulas, so that the law can be compared on any model; ``left_out_`` says so.

It is not linear in N (alpha is not 1), so that far below the fitted numbers of prompts it would be far too much:
outside of those of a model and GPU, the energy at the nearest of them is scaled by N. ``rests_on`` says this, and
steps, pixels and batches that were not fitted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import ArrayLike

from analysis.laws import student
from analysis.laws.base import Forecast, Law, Params
from analysis.laws.paper import ranges
from analysis.laws.paper.leastsquares import INTERCEPT, Design, Factor, Solution, solve
from analysis.laws.rows import LeftOut, merged_scope, refuse_mixed_origin, scope_of
from analysis.table import Floats, Integers, Table
from analysis.work import load
from analysis.work import paper as printed
from farm.domain import Configuration
from farm.domain.units import GIGA, JOULES_PER_KWH

BASELINE_GPU: Final = "a100"
PARAMETERS: Final = {INTERCEPT: "ln_a", "ln_flops": "alpha", "fp32": "beta_fp32", "ln_pixels": "beta_res"}
GPU: Final = "gpu:"  # columns of GPUs are gpu:NAME

# Spread of ln E that is assumed where rows say nothing. Between models: a scaled inverse chi-squared prior that a few
# models override. Between GPUs and precisions that were never measured, the paper's law has no term at all: published
# rates differ by factors of 1.5 to 3 between GPUs and of up to 16 between precisions.
MODEL_SPREAD: Final = 0.2
MODEL_SPREAD_WEIGHT: Final = 4.0  # models that the prior counts for
GPU_SPREAD: Final = 0.5
PRECISION_SPREAD: Final = 1.0


class PaperLaw(Law):
    """Eq. 3. ``params_``: ln_a, alpha, beta_fp32, beta_res and beta_gpu {GPU: value}; dropped ones are not there."""

    version: ClassVar[int] = 2
    minimum_rows: ClassVar[int] = 3
    rests_on_columns: ClassVar[tuple[str, ...]] = ("model", "gpu", "width", "height", "steps", "prompts", "batch")

    _factors: dict[str, Factor]  # by model
    _ranges: ranges.Ranges
    _solution: Solution

    def partial_fit(self, X: Any, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> Self:
        """Take k more rows, in O(k) whatever came before; equals a fit to all rows together."""
        if not self.__sklearn_is_fitted__():
            return self.fit(X, y, sample_weight)
        rows = self.usable(X, y, sample_weight)
        if not len(rows.table):
            return self
        refuse_mixed_origin(Counter(rows.table.origin.tolist()) + Counter({self.scope["origin"]: self.n_}))
        self._settle(_absorbed(self._factors, rows.table, rows.energy_joules, rows.weight))
        self.left_out_ = (
            [entry for entry in self.left_out_ if entry["what"] == "rows"] + rows.left_out + self._dropped()
        )
        self._ranges = ranges.widened(self._ranges, rows.table)
        self.n_ += len(rows.table)
        self.scope = merged_scope(self.scope, scope_of(rows.table))
        total = int(self.data_sha256_, 16) + int(rows.table.digest(rows.energy_joules), 16)
        self.data_sha256_ = f"{total % 2**256:064x}"
        return self

    def updated(self, X: Any) -> Law:
        """Where the rows of this fit come first, only those after them are taken."""
        rows = self.usable(X)
        head = slice(0, self.n_)
        if rows.table.take(head).digest(rows.energy_joules[head]) != self.data_sha256_:
            return super().updated(X)
        fitted: PaperLaw = deepcopy(self)
        fitted.partial_fit(rows.table.take(slice(self.n_, None)))
        fitted.left_out_ = rows.left_out + fitted._dropped()
        return fitted

    def _fit(self, table: Table, energy_joules: Floats, weight: Floats | None) -> None:
        self._settle(_absorbed({}, table, energy_joules, weight))
        self._ranges = ranges.widened({}, table)
        self.left_out_ += self._dropped()

    def _settle(self, factors: dict[str, Factor]) -> None:
        """Solve first, so that rows that cannot be solved leave the law as it was."""
        solution = solve(factors.values(), without=GPU + _baseline(factors.values()))
        self._factors, self._solution = factors, solution
        self.params_ = _parameters(solution.coefficients)
        self.params_std_ = _parameters(solution.std)

    def _dropped(self) -> LeftOut:
        names = [_parameter(column) for column in self._solution.constant]
        if not any(name.startswith("beta_gpu") for name in [*names, *self.params_]):
            names.append("beta_gpu")
        why = "the same in every row: dropped"
        exact = sorted(set(self._factors) - set(printed.MODELS))
        return [{"what": "column", "name": name, "why": why, "count": 1} for name in names] + [
            {"what": "formula", "name": model, "why": "not in the paper: exact count of its denoiser", "count": 1}
            for model in exact
        ]

    def _predict(self, table: Table) -> Floats:
        return self._fitted(table)[1]

    def _fitted(self, table: Table) -> tuple[Design, Floats]:
        """The design of each row at the nearest number of prompts that was fitted, and its joules, scaled. (n,)"""
        prompts, times = ranges.nearest_prompts(self._ranges, table)
        design = _design(table, prompts)
        return design, np.asarray(self._joules(design, len(table)) * times)

    def _joules(self, design: Design, n: int) -> Floats:
        known = self._solution.coefficients
        logarithm = np.full(n, known[INTERCEPT])
        for name, column in design.columns.items():
            if name != INTERCEPT and name in known:
                logarithm += known[name] * column
        return np.asarray(np.exp(logarithm) * JOULES_PER_KWH)

    def _forecast(self, table: Table, level: float) -> Forecast:
        """Prediction interval in ln E: t s sqrt(1 + x' (X'X)^-1 x + v / s^2), t with n - p degrees of freedom.

        Assumed: residuals are normal in ln E, alike and independent (Seber and Lee, Linear Regression Analysis, 2nd
        ed., section 5.3.1). v is 0 within what was fitted. For a model without rows, v is the variance between models:
        the mean square of each model's mean residual, under a scaled inverse chi-squared prior (Gelman et al., Bayesian
        Data Analysis, 3rd ed., section 2.6), with t of the prior's and the models' degrees of freedom; for a GPU or a
        precision without rows, a fixed spread. Two or three models carry no more than that.
        The law knows neither seconds nor phases.
        """
        design, energy_joules = self._fitted(table)
        fit = self._solution
        variance = fit.residual_std**2 * (1 + fit.leverage(design))
        degrees = np.full(len(table), float(fit.degrees_of_freedom))
        spread, spread_degrees = self._between_models()
        strange = ~np.isin(table.model, self.scope["models"])
        variance[strange] += spread**2
        degrees[strange] = np.minimum(degrees[strange], spread_degrees)
        variance[~np.isin(table.gpu, self.scope["gpus"])] += GPU_SPREAD**2
        classes = {precision == "fp32" for precision in self.scope["precisions"]}
        variance[~np.isin(table.precision == "fp32", list(classes))] += PRECISION_SPREAD**2
        half = student.quantile(degrees, (1 + level) / 2) * np.sqrt(variance)
        return Forecast(energy_joules, energy_joules * np.exp(-half), energy_joules * np.exp(half))

    def _between_models(self) -> tuple[float, float]:
        """Standard deviation of ln E from model to model, and its degrees of freedom."""
        means = [factor.mean_residual(self._solution.coefficients) for factor in self._factors.values()]
        degrees = MODEL_SPREAD_WEIGHT + len(means) - 1
        squares = MODEL_SPREAD_WEIGHT * MODEL_SPREAD**2 + sum(mean**2 for mean in means)
        return float(np.sqrt(squares / degrees)), degrees

    def rests_on(self, X: Any) -> str:
        """As of every law; and what of the first configuration lies outside of what was fitted."""
        words = super().rests_on(X)
        return "; ".join([words, *ranges.beyond(self._ranges, Table.of(X).configuration(0))])

    def _gaps(self, row: Configuration) -> list[str]:
        gaps = []
        if row.model not in self.scope["models"]:
            formula = "the paper's formula" if row.model in printed.MODELS else "the exact count"
            gaps.append(f"model {row.model} was never measured: predicted from its FLOPs by {formula}")
        if row.gpu not in self.scope["gpus"]:
            gaps.append(f"GPU {row.gpu} was never measured, and this law has no term for it: taken as the baseline")
        return gaps

    def _state(self) -> dict[str, Any]:
        return {
            "factors": {model: factor.to_json() for model, factor in self._factors.items()},
            "ranges": {key: {axis: list(pair) for axis, pair in axes.items()} for key, axes in self._ranges.items()},
        }

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._settle({model: Factor.from_json(factor) for model, factor in state["factors"].items()})
        self._ranges = {
            key: {axis: (int(low), int(high)) for axis, (low, high) in axes.items()}
            for key, axes in state["ranges"].items()
        }


def gflops(table: Table, prompts: Integers | None = None) -> Floats:
    """N T FLOPs_denoise in GFLOPs, one pass, (n,): by the paper's formulas, or exact for a model it does not have.

    ``prompts`` (n,) instead of the table's.
    """
    first, group = table.groups("model", "width", "height")
    sizes = table.take(first)
    of_step = np.zeros(len(sizes))
    for model in sizes.names("model"):
        mask = sizes.model == model
        of_step[mask] = denoise_flops(model, sizes.width[mask], sizes.height[mask]) / GIGA
    return np.asarray(of_step[group] * table.steps * (table.prompts if prompts is None else prompts))


def denoise_flops(model: str, width: Integers, height: Integers) -> Floats:
    """One step, one pass, one image, (n,): as printed, or exact for a model that the paper does not have."""
    if model in printed.MODELS:
        sizes = zip(width.tolist(), height.tolist(), strict=True)
        return np.array([printed.denoise_flops(model, w, h) for w, h in sizes], dtype=np.float64)
    groups = load.load(model).groups("denoise", "fp16", True)
    return np.asarray(groups.evaluate(width, height)["flops"].sum(axis=1))


def _design(table: Table, prompts: Integers | None = None) -> Design:
    gpus = table.labels("gpu")
    return Design(
        {
            INTERCEPT: np.ones(len(table)),
            "ln_flops": np.log(gflops(table, prompts)) + np.log(2.0) * table.cfg,
            "fp32": (table.precision == "fp32").astype(np.float64),
            "ln_pixels": np.log(table.pixels / 256),
            **{GPU + name: (gpus.codes == gpus.names.index(name)).astype(np.float64) for name in table.names("gpu")},
        }
    )


def _absorbed(
    before: Mapping[str, Factor], table: Table, energy_joules: Floats, weight: Floats | None
) -> dict[str, Factor]:
    """The factors with these rows among them, model by model."""
    after = dict(before)
    response = np.log(energy_joules / JOULES_PER_KWH)
    for model in table.names("model"):
        mask = table.model == model
        part = None if weight is None else weight[mask]
        after[model] = after.get(model, Factor()).absorb(_design(table.take(mask)), response[mask], part)
    return after


def _baseline(factors: Iterable[Factor]) -> str:
    """The A100 where it has rows, else the first GPU by name."""
    names = {
        n.removeprefix(GPU)
        for factor in factors
        for n, column in factor.columns.items()
        if n.startswith(GPU) and column.any()
    }
    return BASELINE_GPU if BASELINE_GPU in names else min(names, default=BASELINE_GPU)


def _parameter(column: str) -> str:
    return PARAMETERS.get(column, f"beta_gpu {column.removeprefix(GPU)}")


def _parameters(values: Mapping[str, float]) -> Params:
    """By the names of the paper; the coefficients of GPUs together."""
    named: Params = {PARAMETERS[column]: value for column, value in values.items() if column in PARAMETERS}
    gpus = {column.removeprefix(GPU): value for column, value in values.items() if column.startswith(GPU)}
    return {**named, "beta_gpu": gpus} if gpus else named


LAW = PaperLaw
