"""Student's t, whose degrees of freedom need not be whole: importing scipy.special for two numbers of it takes longer
than a fit to all rows that ship."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from analysis.table import Floats

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)
_MANY, _FAR = 30.0, 40.0  # of so many degrees of freedom no asked quantile is farther: the rule's nodes lie close
_HALVINGS: Final = 60  # of an interval as long as a right angle: to the last digit


def quantile(degrees: Floats, probability: float) -> Floats:
    """The value that a t of so many degrees of freedom (n,) stays below with this probability, from a half on; (n,).

    With t = sqrt(v) tan(a) the distribution function is 1/2 plus the integral of cos^(v-1) up to a, by its constant:
    smooth on a bounded range, so that Gauss's rule and bisection give it to the precision of numbers.
    """
    few, place = np.unique(np.asarray(degrees, dtype=np.float64), return_inverse=True)
    wanted = (probability - 0.5) * np.sqrt(np.pi) * _gamma_ratio(few)
    low, high = np.zeros_like(few), np.arctan(np.where(few < _MANY, np.inf, _FAR) / np.sqrt(few))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = _integral(few, middle) < wanted
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.asarray((np.sqrt(few) * np.tan(low))[place])


def mean_absolute(degrees: Floats) -> Floats:
    """Of a t of so many degrees of freedom, above 1: the mean of its absolute value, (n,)."""
    few, place = np.unique(np.asarray(degrees, dtype=np.float64), return_inverse=True)
    return np.asarray((2 * np.sqrt(few / np.pi) / (few - 1) / _gamma_ratio(few))[place])


def _integral(degrees: Floats, angle: Floats) -> Floats:
    """Of cos^(degrees - 1), from 0 to each angle, (n,)."""
    half = angle[:, None] / 2
    return np.asarray(half[:, 0] * (np.cos(half * (_NODES + 1)) ** (degrees[:, None] - 1) @ _WEIGHTS))


def _gamma_ratio(degrees: Floats) -> Floats:
    """Of each v the gamma function of v/2 over that of (v + 1)/2, (n,)."""
    pairs = (math.lgamma(v / 2) - math.lgamma((v + 1) / 2) for v in degrees.tolist())
    return np.exp(np.fromiter(pairs, dtype=np.float64, count=len(degrees)))
