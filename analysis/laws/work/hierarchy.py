"""Penalised least squares for effects that are shared, or belong to a model, a GPU, a laboratory or a shape.

Observed is y = eta(p) + c_shape + e with independent normal p_j ~ (0, s_j^2), c ~ (0, tau^2), e ~ (0, v_i). p is found
at the mode of its posterior by Gauss-Newton steps; shape effects are integrated out on the way, since the covariance of
a shape is V = diag(v) + tau^2 1 1' with the inverse of Sherman and Morrison. The covariance of p is that of the last
step (Laplace). sigma and tau, one a group of rows and of shapes, are estimated under scaled inverse chi-squared priors
around what all groups have in common, which is estimated too; one factor on those s_j that are to be learned, by the
evidence (MacKay, Neural Computation 4, 1992).
Rows of one configuration share eta: for p they count as their mean, weighted by 1/v, which is exact, so that a step
costs as much as there are configurations, however often each was measured.
Gelman and Hill, Data Analysis Using Regression and Multilevel Models, ch. 12-13; Searle et al., Variance Components,
ch. 7 for the shapes' best linear unbiased predictor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analysis.laws.work.blocks import Blocks, Information
from analysis.table import Floats, Integers

Jacobian = Callable[[], Blocks]  # (m, P), worked out if asked
Model = Callable[[Floats], tuple[Floats, Jacobian]]  # p -> eta (m,) of each configuration, and its Jacobian

NOISE: Final = 0.02  # prior of sigma, relative: what a repeat of a row differs by
SHAPE: Final = 0.02  # prior of tau: what a shape of one model, precision, size and guidance differs by from its physics
PRIOR_ROWS: Final = 8.0  # that the priors of what is common count for
GROUP_ROWS: Final = 5.0  # that what is common counts for in a group
_MOST_ROWS: Final = 20.0  # of one group that count to what is common
SCALE_WORTH: Final = 10.0  # effects that the prior of the learned factor, 1, counts for
_OUTLIER: Final = 5.0  # standard deviations from which a row's pull stays the same (Huber)
_NORMAL_MEDIAN: Final = 0.6745  # of the absolute value of a standard normal number
_ROUNDS: Final = 10
_STEPS: Final = 40
_TOLERANCE: Final = 1e-7
_SETTLED: Final = 1e-3  # relative, of spreads: effects do not feel it
_ROUNDING: Final = 1e-12  # relative, of a sum of squares: a step that raises the loss by less has not failed


@dataclass(frozen=True, slots=True)
class Shapes:
    """Of each shape: mean and variance of its effect, and the part of the shared error that its rows take away."""

    mean: Floats
    variance: Floats
    known: Floats


@dataclass(frozen=True, slots=True)
class Spread:
    """A spread by group, what it is in common, and how many rows or shapes each group has."""

    of_group: Floats
    common: float
    count: Floats

    @classmethod
    def prior(cls, common: float, group: Integers) -> Spread:
        count = np.bincount(group).astype(np.float64)
        return cls(np.full(len(count), common), common, count)

    def again(self, prior: float, squares: Floats) -> Spread:
        """The spread by the sum of squares of each group, and by the prior of what is common."""
        part = np.minimum(1.0, _MOST_ROWS / np.maximum(self.count, 1.0))
        common = (PRIOR_ROWS * prior**2 + part @ squares) / (PRIOR_ROWS + part @ self.count)
        of_group = np.sqrt((GROUP_ROWS * common + squares) / (GROUP_ROWS + self.count))
        return Spread(of_group, float(np.sqrt(common)), self.count)

    def is_near(self, other: Spread) -> bool:
        """Whether no group's spread differs by more than matters."""
        return bool((np.abs(other.of_group / self.of_group - 1) < _SETTLED).all())

    @property
    def pooled(self) -> float:
        """Root mean square over all rows or shapes; what is common where there are none."""
        total = self.count.sum()
        return float(np.sqrt(self.of_group**2 @ self.count / total)) if total else self.common


@dataclass(frozen=True, slots=True)
class Posterior:
    p: Floats
    covariance: Floats
    sigma: Spread
    tau: Spread
    shapes: Shapes
    scale: float
    scale_degrees: float  # of freedom: effects that the factor rests on, its prior's among them


@dataclass(frozen=True, slots=True)
class Layout:
    """Which rows belong together: of every row (n,) its configuration and its group of equal noise, of every
    configuration (m,) its shape, of every shape its group of equal spread."""

    alike: Integers
    noise_group: Integers
    shape: Integers
    spread_group: Integers


def solve(
    model: Model,
    y: Floats,
    prior_std: Floats,
    learned: NDArray[np.bool_],
    layout: Layout,
    extra_variance: Floats,
    weight: Floats,
    start: Floats,
) -> Posterior:
    """``prior_std`` (P,), times one factor where ``learned`` (P,); ``extra_variance`` (n,): of the row itself, beside
    sigma^2."""
    alike, shape = layout.alike, layout.shape
    shape_of_row = shape[alike]
    sigma, tau = Spread.prior(NOISE, layout.noise_group), Spread.prior(SHAPE, layout.spread_group)
    p, scale, degrees = start, 1.0, SCALE_WORTH
    robust = np.ones_like(y)
    at = model(p)
    for _ in range(_ROUNDS):
        of_row, of_shape = sigma.of_group[layout.noise_group], tau.of_group[layout.spread_group]
        pooled = _Pooled.of(y, (of_row**2 / weight + extra_variance) / robust, alike, len(shape))
        std = np.where(learned, prior_std * scale, prior_std)
        p, at, information = _mode(model, pooled, std, shape, of_shape, p, at)
        eta, jacobian = at
        residual, blup = y - eta[alike], _shapes(pooled.mean - eta, pooled.variance, of_shape, shape)
        fitted = jacobian().variance(information.of_sets())[alike]  # of eta
        unsure = blup.variance[shape_of_row] + (1 - blup.known[shape_of_row]) ** 2 * fitted
        within = robust * weight * ((residual - blup.mean[shape_of_row]) ** 2 + unsure)
        before = sigma, tau, scale
        sigma = sigma.again(NOISE, _sums(within, layout.noise_group, len(sigma.count)))
        tau = tau.again(SHAPE, _sums(blup.mean**2 + blup.variance, layout.spread_group, len(tau.count)))
        scale, degrees = _scale(p, information.variances(), prior_std, std, learned)
        robust = _robust(residual - blup.mean[shape_of_row], sigma, layout.noise_group, weight, extra_variance)
        if before[0].is_near(sigma) and before[1].is_near(tau) and abs(scale / before[2] - 1) < _SETTLED:
            break
    return Posterior(p, information.inverse(), sigma, tau, blup, scale, degrees)


def _sums(values: Floats, group: Integers, groups: int) -> Floats:
    return np.asarray(np.bincount(group, values, groups), dtype=np.float64)


def _scale(
    p: Floats, variance: Floats, prior_std: Floats, std: Floats, learned: NDArray[np.bool_]
) -> tuple[float, float]:
    """The factor on the spreads that are learned, and its degrees of freedom: effects count by how well rows tell
    them."""
    told = 1 - variance[learned] / std[learned] ** 2
    squares = (p[learned] / prior_std[learned]) ** 2
    degrees = float(SCALE_WORTH + told.sum())
    return float(np.sqrt((SCALE_WORTH + squares.sum()) / degrees)), degrees


@dataclass(frozen=True, slots=True)
class _Pooled:
    """What the rows of each configuration say together: their mean (m,) and its variance (m,), infinite where it has
    none. ``scatter`` is the sum of squares about the means, which no p changes."""

    mean: Floats
    variance: Floats
    scatter: float

    @classmethod
    def of(cls, y: Floats, variance: Floats, alike: Integers, m: int) -> _Pooled:
        precision = np.bincount(alike, 1 / variance, m)
        some = precision > 0
        mean, of_mean = np.zeros(m), np.full(m, np.inf)
        mean[some] = np.bincount(alike, y / variance, m)[some] / precision[some]
        of_mean[some] = 1 / precision[some]
        return cls(mean, of_mean, float(((y - mean[alike]) ** 2 / variance).sum()))


def _robust(residual: Floats, sigma: Spread, group: Integers, weight: Floats, extra_variance: Floats) -> Floats:
    """Huber's weights. The scale of a group is the smaller of its sigma and what half of its rows stay within, which
    outliers, unlike sigma, cannot move."""
    of_row = sigma.of_group[group]
    scaled = np.abs(residual) / np.sqrt(of_row**2 / weight + extra_variance)
    scale = np.ones(len(sigma.count))
    for place, spread in enumerate(sigma.of_group):
        rows = scaled[group == place]
        if len(rows):
            scale[place] = min(1.0, max(float(np.median(rows)) / _NORMAL_MEDIAN, NOISE / 2 / float(spread)))
    return np.minimum(1.0, _OUTLIER * scale[group] / np.maximum(scaled, 1e-12))


def whitened(local: Floats, variance: Floats, tau: Floats, shape: Integers) -> Floats:
    """A (m, k) with A' A = L' V^-1 L of rows L whose shapes have an effect of their own, of spread ``tau`` (shapes,).

    A = diag(v)^-1/2 (L - theta M), M the means of the shapes weighted by 1/v, (1 - theta)^2 = 1 / (1 + tau^2 sum 1/v).
    Where L is the local part of a Jacobian in blocks, the rows of a shape have to be of one group.
    """
    a: Floats = local / np.sqrt(variance)[:, None]
    shapes = len(tau)
    precision = np.bincount(shape, 1 / variance, shapes)
    theta = 1 - (1 + tau**2 * precision) ** -0.5
    several = np.bincount(shape, minlength=shapes)[shape] > 1
    a[~several] *= 1 - theta[shape[~several], None]
    rows = np.flatnonzero(several)[np.argsort(shape[several], kind="stable")]
    if len(rows):
        first = np.flatnonzero(np.diff(shape[rows], prepend=-1))
        root = np.sqrt(1 / variance[rows])[:, None]
        sums = np.add.reduceat(a[rows] * root, first, axis=0)
        part = theta / np.where(precision > 0, precision, 1.0)
        means = sums * part[shape[rows[first]], None]
        a[rows] -= np.repeat(means, np.diff(first, append=len(rows)), axis=0) * root
    return a


def _mode(
    model: Model,
    pooled: _Pooled,
    prior_std: Floats,
    shape: Integers,
    tau: Floats,
    p: Floats,
    at: tuple[Floats, Jacobian],
) -> tuple[Floats, tuple[Floats, Jacobian], Information]:
    """The posterior mode, from p on, where the model is ``at``; the model there; the information matrix of the last
    step."""
    precision, variance = prior_std**-2.0, pooled.variance
    shrink = tau**2 / (1 + tau**2 * np.bincount(shape, 1 / variance, len(tau)))

    def inverse(r: Floats) -> Floats:
        """V^-1 r."""
        pull = shrink * np.bincount(shape, r / variance, len(tau))
        return np.asarray((r - pull[shape]) / variance)

    def loss(eta: Floats, at: Floats) -> float:
        r = pooled.mean - eta
        return float(r @ inverse(r) + at @ (precision * at)) + pooled.scatter

    eta, jacobian = at
    before, size = loss(eta, p), 1.0
    for _ in range(_STEPS):
        slope = jacobian()
        information = Information(slope.groups, slope.gram(whitened(slope.local, variance, tau, shape)), precision)
        step = information.solve(slope.transposed(inverse(pooled.mean - eta)) - precision * p)
        size = min(1.0, 2 * size)  # where one full step goes too far, the next does
        while True:
            eta, jacobian = model(p + size * step)
            after = loss(eta, p + size * step)
            if after <= before * (1 + _ROUNDING) or size < 1e-3:
                break
            size /= 2
        p = p + size * step
        if np.abs(size * step).max(initial=0.0) < _TOLERANCE or before - after < _TOLERANCE * (1 + before):
            break
        before = after
    return p, (eta, jacobian), information


def _shapes(residual: Floats, variance: Floats, tau: Floats, shape: Integers) -> Shapes:
    shapes = len(tau)
    precision = np.asarray(np.bincount(shape, 1 / variance, shapes), dtype=np.float64)
    shrink = tau**2 / (1 + tau**2 * precision)
    return Shapes(np.asarray(shrink * np.bincount(shape, residual / variance, shapes)), shrink, shrink * precision)
