"""Idle power that changes: what of it is taken for settled, and what the rest leaves in doubt."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from workers.meters.base import IDLE, Span
from workers.meters.energy.attribution import attribute
from workers.meters.energy.cumulative import Baseline, CumulativeEnergy
from workers.meters.energy.drift import SETTLED_SECONDS, drift_joules, settled
from workers.meters.energy.idle import IdleLevel

SPANS = [
    Span(label=IDLE, start=0.0, end=8.0),
    Span(label="work", start=8.0, end=12.0),
    Span(label=IDLE, start=12.0, end=20.0),
]
WORK_WATTS = 200.0


def readings(idle: Callable[[np.ndarray], np.ndarray], *, noise: float = 0.0, seed: int = 0) -> CumulativeEnergy:
    """Ten a second for 20 s of an idle power (W by time), white noise on it, and work from 8 to 12 s above it."""
    times = np.round(np.arange(0, 20.05, 0.1), 9)
    middle = (times[1:] + times[:-1]) / 2
    watts = idle(middle) + noise * np.random.default_rng(seed).standard_normal(len(middle))
    watts += np.where((middle > 8) & (middle < 12), WORK_WATTS, 0.0)
    joules = np.concatenate([[0.0], np.cumsum(watts * 0.1)])
    return CumulativeEnergy(times=times, joules=joules, time_std=0 * times)


def falling(t: np.ndarray) -> np.ndarray:
    """60 W, and after the work 20 W more that fade within seconds."""
    return 60 + np.where(t > 12, 20 * np.exp(-(t - 12) / 2), 0.0)


def in_doubt(levels: CumulativeEnergy) -> float:
    found = attribute(levels, SPANS)
    assert found is not None
    return drift_joules(levels, found, SPANS, seconds=4.0)


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_idle_that_is_steady_or_drifts_along_a_line_is_used_whole(slope: float) -> None:
    kept = 0
    for seed in range(20):
        levels = readings(lambda t: 60 + slope * t, noise=1.0, seed=seed)
        kept += settled(levels, SPANS) == SPANS and in_doubt(levels) == 0
    assert kept >= 19  # a change is one of four standard errors


def test_of_idle_that_still_falls_the_later_part_is_used() -> None:
    levels = readings(falling, noise=0.2)
    *others, rest = settled(levels, SPANS)
    assert others == SPANS[:2]
    assert rest.end == 20.0
    assert 16.0 <= rest.start <= 20.0 - SETTLED_SECONDS
    assert in_doubt(levels) > 0


def test_without_a_level_before_the_work_nothing_is_left_out() -> None:
    """The first span is shorter than what holds two readings."""
    short = [Span(label=IDLE, start=7.91, end=8.0), *SPANS[1:]]
    assert settled(readings(falling, noise=0.2), short) == short


def test_idle_that_steps_leaves_in_doubt_what_it_steps_by_where_nothing_tells_how() -> None:
    """Of few readings a trend is unknown: the change may have come at any time of the work."""
    spans = [Span(label=IDLE, start=7.4, end=8.0), SPANS[1], Span(label=IDLE, start=12.0, end=12.6)]
    for step, expected in ((0.0, 0.0), (30.0, 30.0 * 4 / math.sqrt(12))):
        levels = readings(lambda t, step=step: 60 + np.where(t > 12, step, 0.0), noise=0.1)
        found = attribute(levels, spans)
        assert found is not None
        assert drift_joules(levels, found, spans, seconds=4.0) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(("readings_of_each", "told"), [(9, True), (8, False)])
def test_nine_readings_of_an_idle_tell_that_it_follows_the_line(readings_of_each: int, told: bool) -> None:
    """Two in each quarter of it; with fewer the change from one idle to the other may have come at any time."""
    slope, length = 5.0, 0.1 * (readings_of_each - 1)
    spans = [Span(label=IDLE, start=8.0 - length, end=8.0), SPANS[1], Span(label=IDLE, start=20.0 - length, end=20.0)]
    levels = readings(lambda t: 60 + slope * t, noise=0.05)
    found = attribute(levels, spans)
    assert found is not None
    assert [level.readings + 1 for level in found.idle] == [readings_of_each] * 2
    expected = 0.0 if told else slope * 12 * 4 / math.sqrt(12)
    assert drift_joules(levels, found, spans, seconds=4.0) == pytest.approx(expected, rel=0.02)


def test_between_two_idle_levels_their_errors_count_in_proportion() -> None:
    one, other = (
        IdleLevel(middle=middle, seconds=5.0, watts=watts, std=std, noise=0.0, readings=50)
        for middle, watts, std in ((0.0, 60.0, 1.0), (10.0, 80.0, 3.0))
    )
    baseline = Baseline((one, other))
    assert baseline.at(-1.0) == (60.0, 1.0)
    assert baseline.at(11.0) == (80.0, 3.0)
    assert baseline.at(2.5) == (pytest.approx(65.0), pytest.approx(math.hypot(0.75, 0.75)))
    assert baseline.at(5.0) == (pytest.approx(70.0), pytest.approx(math.hypot(0.5, 1.5)))
