"""Drift: what is more than a device's own noise, and what is not."""

from __future__ import annotations

import math
import random

import pytest

from farm.domain.health import BASELINE_CHECKS, LONGEST_BASELINE, deviation
from farm.health import last_passing


def test_there_is_no_drift_before_there_is_a_baseline():
    for count in range(BASELINE_CHECKS):
        assert deviation(200.0, [100.0] * count, 3.0) is None
    assert deviation(200.0, [100.0] * BASELINE_CHECKS, 3.0).drifted


@pytest.mark.parametrize(
    ("joules", "percent", "drifted"), [(102.9, 2.9, False), (103.2, 3.2, True), (96.0, -4.0, True)]
)
def test_less_than_the_tolerance_is_never_drift(joules, percent, drifted):
    found = deviation(joules, [100.0, 100.0, 100.0], 3.0)
    assert found.percent == pytest.approx(percent)
    assert (found.limit_percent, found.drifted) == (3.0, drifted)


def test_a_noisy_device_may_vary_more_and_one_outlier_widens_nothing():
    noise = random.Random(7)
    good = [100 * math.exp(noise.gauss(0, 0.02)) for _ in range(LONGEST_BASELINE)]
    limit = deviation(100.0, good, 3.0).limit_percent
    assert 4.0 < limit < 16.0
    assert deviation(100.0, [*good[:-1], 300.0], 3.0).limit_percent < 1.6 * limit
    assert not deviation(103.5, good, 3.0).drifted
    assert deviation(100.0 * math.exp(0.2), good, 3.0).drifted


def test_a_slow_drift_is_held_against_the_first_checks():
    slow = [100.0 * 1.005**night for night in range(60)]
    assert deviation(slow[-1], slow[:-1], 3.0).drifted


def test_the_last_passing_of_an_hour():
    midnight = 20_000 * 86400.0
    assert last_passing(3, midnight + 2 * 3600) == midnight - 21 * 3600
    assert last_passing(3, midnight + 3 * 3600) == midnight + 3 * 3600
    assert last_passing(0, midnight + 1) == midnight
