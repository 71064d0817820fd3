"""Penalised least squares for effects that are shared, or belong to a model, a GPU, a data set or a cell.

Observed is y = eta(p) + c_cell + e with independent normal p_j ~ (0, s_j^2), c ~ (0, tau^2), e ~ (0, v_i). p is found
at the mode of its posterior by Gauss-Newton steps; cell effects are integrated out on the way, since the covariance of
a cell is V = diag(v) + tau^2 1 1' with the inverse of Sherman and Morrison. The covariance of p is that of the last
step (Laplace). sigma and tau are estimated under scaled inverse chi-squared priors.
Rows of one configuration share eta: for p they count as their mean, weighted by 1/v, which is exact, so that a step
costs as much as there are configurations, however often each was measured.
Gelman and Hill, Data Analysis Using Regression and Multilevel Models, ch. 12-13; Searle et al., Variance Components,
ch. 7 for the cells' best linear unbiased predictor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from analysis.laws.work.blocks import Blocks
from analysis.table import Floats, Integers

Jacobian = Callable[[], Blocks]  # (m, P), worked out if asked
Model = Callable[[Floats], tuple[Floats, Jacobian]]  # p -> eta (m,) of each configuration, and its Jacobian

NOISE: Final = 0.02  # prior of sigma, relative: what a repeat of a row differs by
CELL: Final = 0.02  # prior of tau: what a cell of one model, precision, size and guidance differs by from its physics
PRIOR_ROWS: Final = 8.0  # that the priors of sigma and tau count for
_OUTLIER: Final = 5.0  # standard deviations from which a row's pull stays the same (Huber)
_NORMAL_MEDIAN: Final = 0.6745  # of the absolute value of a standard normal number
_ROUNDS: Final = 10
_STEPS: Final = 40
_TOLERANCE: Final = 1e-7
_ROUNDING: Final = 1e-12  # relative, of a sum of squares: a step that raises the loss by less has not failed


@dataclass(frozen=True, slots=True)
class Cells:
    """Of each cell: mean and variance of its effect, and the part of the shared error that its rows take away."""

    mean: Floats
    variance: Floats
    known: Floats


@dataclass(frozen=True, slots=True)
class Posterior:
    p: Floats
    covariance: Floats
    sigma: float
    tau: float
    cells: Cells


def solve(
    model: Model,
    y: Floats,
    prior_std: Floats,
    alike: Integers,
    cell: Integers,
    extra_variance: Floats,
    weight: Floats,
    start: Floats,
) -> Posterior:
    """``alike`` (n,): number of each row's configuration; ``cell`` (m,): number of each configuration's cell;
    ``extra_variance`` (n,): of the row itself, beside sigma^2."""
    cells = int(cell.max()) + 1 if len(cell) else 0
    cell_of_row = cell[alike]
    sigma, tau, p = NOISE, CELL, start
    robust = np.ones_like(y)
    for _ in range(_ROUNDS):
        pooled = _Pooled.of(y, (sigma**2 / weight + extra_variance) / robust, alike, len(cell))
        p, eta, jacobian, information = _mode(model, pooled, prior_std, cell, cells, tau, p)
        residual, blup = y - eta[alike], _cells(pooled.mean - eta, pooled.variance, tau, cell, cells)
        covariance = cho_solve(cho_factor(information), np.eye(len(p)))
        fitted = jacobian.variance(covariance)  # of eta
        sigma, tau = _spreads(residual, fitted[alike], blup, robust * weight, cell_of_row, cells)
        robust = _robust(residual - blup.mean[cell_of_row], sigma, weight, extra_variance)
    return Posterior(p, covariance, sigma, tau, blup)


@dataclass(frozen=True, slots=True)
class _Pooled:
    """What the rows of each configuration say together: their mean (m,) and its variance (m,). ``scatter`` is the sum
    of squares about the means, which no p changes."""

    mean: Floats
    variance: Floats
    scatter: float

    @classmethod
    def of(cls, y: Floats, variance: Floats, alike: Integers, m: int) -> _Pooled:
        precision = np.bincount(alike, 1 / variance, m)
        mean = np.bincount(alike, y / variance, m) / precision
        return cls(mean, 1 / precision, float(((y - mean[alike]) ** 2 / variance).sum()))


def _robust(residual: Floats, sigma: float, weight: Floats, extra_variance: Floats) -> Floats:
    """Huber's weights. The scale is the smaller of sigma and what half of the rows stay within, which outliers, unlike
    sigma, cannot move."""
    scaled = np.abs(residual) / np.sqrt(1 / weight + extra_variance / sigma**2)
    typical = float(np.median(scaled)) / _NORMAL_MEDIAN if len(scaled) else sigma
    scale = min(sigma, max(typical, NOISE / 2))
    return np.minimum(1.0, _OUTLIER * scale / np.maximum(scaled, 1e-12))


def whitened(local: Floats, variance: Floats, tau: float, cell: Integers, cells: int) -> Floats:
    """A (m, k) with A' A = L' V^-1 L of rows L whose cells have an effect of their own.

    A = diag(v)^-1/2 (L - theta M), M the means of the cells weighted by 1/v, (1 - theta)^2 = 1 / (1 + tau^2 sum 1/v).
    Where L is the local part of a Jacobian in blocks, the rows of a cell have to be of one group.
    """
    a: Floats = local / np.sqrt(variance)[:, None]
    precision = np.bincount(cell, 1 / variance, cells)
    theta = 1 - (1 + tau**2 * precision) ** -0.5
    several = np.bincount(cell, minlength=cells)[cell] > 1
    a[~several] *= 1 - theta[cell[~several], None]
    rows = np.flatnonzero(several)[np.argsort(cell[several], kind="stable")]
    if len(rows):
        first = np.flatnonzero(np.diff(cell[rows], prepend=-1))
        root = np.sqrt(1 / variance[rows])[:, None]
        sums = np.add.reduceat(a[rows] * root, first, axis=0)
        means = sums * (theta / precision)[cell[rows[first]], None]
        a[rows] -= np.repeat(means, np.diff(first, append=len(rows)), axis=0) * root
    return a


def _mode(
    model: Model, pooled: _Pooled, prior_std: Floats, cell: Integers, cells: int, tau: float, p: Floats
) -> tuple[Floats, Floats, Blocks, Floats]:
    """The posterior mode; eta and its Jacobian there; the information matrix of the last step."""
    precision, variance = prior_std**-2.0, pooled.variance
    shrink = tau**2 / (1 + tau**2 * np.bincount(cell, 1 / variance, cells))

    def inverse(r: Floats) -> Floats:
        """V^-1 r."""
        pull = shrink * np.bincount(cell, r / variance, cells)
        return np.asarray((r - pull[cell]) / variance)

    def loss(eta: Floats, at: Floats) -> float:
        r = pooled.mean - eta
        return float(r @ inverse(r) + at @ (precision * at)) + pooled.scatter

    eta, jacobian = model(p)
    before = loss(eta, p)
    for _ in range(_STEPS):
        slope = jacobian()
        information = slope.gram(whitened(slope.local, variance, tau, cell, cells)) + np.diag(precision)
        step = cho_solve(cho_factor(information), slope.transposed(inverse(pooled.mean - eta)) - precision * p)
        size = 1.0
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
    return p, eta, jacobian(), information


def _cells(residual: Floats, variance: Floats, tau: float, cell: Integers, cells: int) -> Cells:
    precision = np.asarray(np.bincount(cell, 1 / variance, cells), dtype=np.float64)
    shrink = tau**2 / (1 + tau**2 * precision)
    return Cells(np.asarray(shrink * np.bincount(cell, residual / variance, cells)), shrink, shrink * precision)


def _spreads(
    residual: Floats, fitted: Floats, blup: Cells, weight: Floats, cell: Integers, cells: int
) -> tuple[float, float]:
    """sigma and tau by one step of expectation-maximisation; what the effects may still be counts to the residuals."""
    unsure = blup.variance[cell] + (1 - blup.known[cell]) ** 2 * fitted
    within = (weight * ((residual - blup.mean[cell]) ** 2 + unsure)).sum()
    between = (blup.mean**2 + blup.variance).sum()
    sigma2 = (PRIOR_ROWS * NOISE**2 + within) / (PRIOR_ROWS + len(residual))
    tau2 = (PRIOR_ROWS * CELL**2 + between) / (PRIOR_ROWS + cells)
    return float(np.sqrt(sigma2)), float(np.sqrt(tau2))
