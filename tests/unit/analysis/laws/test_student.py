"""Student's t as scipy has it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import gammaln, stdtrit

from analysis.laws import student

DEGREES = np.array([1, 2, 2.5, 3, 4.7, 6.2, 10.5, 29.9, 30.1, 100, 1e3, 1e4])


@pytest.mark.parametrize("probability", [0.5, 0.55, 0.9, 0.95, 0.975, 0.995, 0.9995])
def test_quantiles(probability: float) -> None:
    expected = stdtrit(DEGREES, probability)
    assert student.quantile(DEGREES, probability) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_far_tails_and_many_degrees_of_freedom() -> None:
    few = DEGREES[DEGREES > 2]
    assert student.quantile(few, 1 - 5e-7) == pytest.approx(stdtrit(few, 1 - 5e-7), rel=1e-4)
    assert student.quantile(np.array([1e6]), 0.95) == pytest.approx(1.644855, rel=1e-6)


def test_degrees_that_come_often_are_worked_out_in_their_places() -> None:
    degrees = np.array([7.0, 3.0, 7.0, 20.0])
    assert np.argsort(student.quantile(degrees, 0.95)).tolist() == [3, 0, 2, 1]
    assert student.quantile(np.array([]), 0.95).shape == (0,)


def test_the_mean_of_the_absolute_value() -> None:
    degrees = DEGREES[1:]
    logarithms = gammaln((degrees - 1) / 2) - gammaln(degrees / 2)
    expected = np.sqrt(degrees / np.pi) * np.exp(logarithms)
    assert student.mean_absolute(degrees) == pytest.approx(expected, rel=1e-9)
