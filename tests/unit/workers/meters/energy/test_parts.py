"""The parts of metering that are arithmetic: idle error, sharing, ticks, samples, Student's t, whose process it is."""

from __future__ import annotations

import math
import zlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, t

from workers.meters.base import IDLE, OTHER, PAD, Probe, Recording, Span
from workers.meters.energy.attribution import attribute
from workers.meters.energy.by_label import energy_from
from workers.meters.energy.cumulative import CumulativeEnergy
from workers.meters.energy.idle import idle_level
from workers.meters.energy.power_log import FEWEST_READINGS, averages
from workers.meters.energy.statistics import mean_and_error, relative_halfwidth, t_975
from workers.meters.energy.ticks import Difference, counter_levels
from workers.meters.nvml.evaluate import evaluate
from workers.meters.samples import decode_samples, encode_samples


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
def test_the_standard_error_of_idle_knows_autocorrelation(rho: float) -> None:
    """400 stretches of 200 readings, as of 20 s at 10 Hz: the 95 % interval holds the true mean as often as it says."""
    random = np.random.default_rng(7)
    hits = 0
    for _ in range(400):
        noise = random.standard_normal(260) * math.sqrt(1 - rho**2)
        for i in range(1, 260):
            noise[i] += rho * noise[i - 1]
        joules = np.concatenate([[0.0], np.cumsum((60 + noise[60:]) * 0.1)])
        level = idle_level(0.1 * np.arange(201), joules)
        hits += abs(level.watts - 60) <= 1.96 * level.std
    # The estimate of a strong autocorrelation has an error of its own: 91 % is asked for, not 95.
    assert hits >= binom.ppf(0.01, 400, 0.91 if rho > 0.8 else 0.93)
    assert hits < 400


@pytest.mark.parametrize("readings", [2, 3])
def test_the_level_of_hardly_any_readings_is_known_to_one_percent_of_two_degrees_of_freedom(readings: int) -> None:
    """Their scatter says nothing. 4.303 is the quantile of Student's t with two degrees; errors are quoted as if 1.960
    of them made the interval. The time between the outer readings, known to 2% here, is as uncertain as the level."""
    times = 0.5 * np.arange(readings)
    level = idle_level(times, 60 * times)
    assert (level.watts, level.std) == (pytest.approx(60), pytest.approx(0.6 * 4.303 / 1.960, rel=1e-3))
    late = idle_level(times, 60 * times, time_std=0.02 * float(times[-1]))
    assert late.std == pytest.approx(math.hypot(0.6, 1.2) * 4.303 / 1.960, rel=1e-3)


def exact(*corners: tuple[float, float], step: float = 0.1, until: float = 10.0) -> CumulativeEnergy:
    """CumulativeEnergy of a power that is 60 W and, from each corner (time, watts above idle) on, more."""
    times = np.round(np.arange(0, until + step / 2, step), 9)
    fine = np.arange(0.0005, until, 0.001)
    watts = np.full_like(fine, 60.0)
    for at, more in corners:
        watts[fine > at] = 60 + more
    joules = np.concatenate([[0.0], np.cumsum(watts * 0.001)])
    return CumulativeEnergy(
        times=times, joules=np.interp(times, np.arange(len(joules)) * 0.001, joules), time_std=0 * times
    )


def spans(*rows: tuple[str, float, float]) -> list[Span]:
    return [Span(label=label, start=start, end=end) for label, start, end in rows]


def test_a_burst_inside_one_interval_gets_all_of_it() -> None:
    found = attribute(exact((5.02, 300), (5.07, 0)), spans((IDLE, 0, 4), ("work", 5.02, 5.07), (IDLE, 6, 10)))
    assert found is not None
    assert found.total == pytest.approx(15, abs=1e-6)
    assert found.idle_watts == pytest.approx(60)
    assert found.gross == pytest.approx(18, abs=1e-6)


def test_a_shared_interval_is_split_by_power() -> None:
    levels = exact((4.0, 100), (4.55, 300), (5.25, 0))
    found = attribute(levels, spans((IDLE, 0, 3), ("text", 4, 4.55), ("denoise", 4.55, 5.25), (IDLE, 6, 10)))
    assert found is not None
    assert found.joules.tolist() == pytest.approx([0, 55, 210, 0], abs=0.5)
    assert found.joules.sum() == pytest.approx(265, abs=1e-6)


def test_work_outside_the_spans_is_not_counted() -> None:
    levels = exact((4.0, 300), (5.0, 80), (6.0, 300), (7.0, 0))
    rows = spans((IDLE, 0, 3), ("w", 4, 5), (OTHER, 5, 6), ("w", 6, 7), (PAD, 7, 7.5), (IDLE, 7.5, 10))
    found = attribute(levels, rows)
    assert found is not None
    assert found.total == pytest.approx(600, rel=1e-3)
    gap = attribute(levels, [s for s in rows if s.label != OTHER])  # a gap is the same
    assert gap is not None
    assert gap.total == pytest.approx(found.total)


def test_without_idle_or_readings_around_the_work_nothing_is_known() -> None:
    levels = exact((4.0, 300), (5.0, 0))
    assert attribute(levels, spans(("w", 4, 5))) is None
    assert attribute(levels, spans((IDLE, 0, 3), ("w", 9.5, 11))) is None
    assert attribute(levels, spans((IDLE, 0, 3))) is None


def test_work_that_is_too_short_for_a_meter_is_refused_and_idle_is_still_known() -> None:
    levels = exact((4.0, 300), (5.0, 0))
    rows = spans((IDLE, 0, 3), ("w", 4, 5), (IDLE, 6, 10))
    known = energy_from(levels, rows, flags=("estimated",), shortest_seconds=1.0)
    assert known.total_joules == pytest.approx(300, abs=1e-6)
    assert known.flags == ("estimated",)
    refused = energy_from(levels, rows, flags=("estimated",), shortest_seconds=1.5)
    assert refused.total_joules is None
    assert refused.dynamic_joules == {"w": None}
    assert refused.flags == ("estimated", "window_too_short")
    assert refused.idle_watts == pytest.approx(60)
    assert refused.notes["shortest_seconds"] == 1.5


def test_without_work_or_readings_around_it_energy_is_unknown_rather_than_too_short() -> None:
    levels = exact((4.0, 300), (5.0, 0))
    for rows in (spans((IDLE, 0, 3)), spans((IDLE, 0, 3), ("w", 9.5, 11))):
        unknown = energy_from(levels, rows, shortest_seconds=0.5)
        assert (unknown.total_joules, unknown.flags) == (None, ())
        assert unknown.idle_watts == pytest.approx(60)


@settings(derandomize=True, max_examples=40)
@given(st.lists(st.tuples(st.floats(0.05, 2), st.floats(20, 500), st.sampled_from("abc")), min_size=1, max_size=8))
def test_spans_always_sum_to_the_whole(pieces: list[tuple[float, float, str]]) -> None:
    at, corners, rows = 3.0, [], [(IDLE, 0.0, 2.5)]
    for seconds, watts, label in pieces:
        corners.append((at, watts))
        rows.append((label, at, at + seconds))
        at += seconds
    levels = exact(*corners, (at, 0.0), until=at + 3)
    found = attribute(levels, spans(*rows, (IDLE, at + 0.5, at + 3)))
    assert found is not None
    assert found.joules.sum() == pytest.approx(found.total, rel=1e-9)
    assert found.total == pytest.approx(sum(s * w for s, w, _ in pieces), rel=0.02, abs=1)
    assert np.all(np.isfinite(found.independent))


@pytest.mark.parametrize("seconds_asleep", [0.1, 5.0, 20.0, 300.0])
def test_a_host_that_sleeps_as_the_work_ends_costs_no_measurement(seconds_asleep: float) -> None:
    """What a device goes on drawing is followed back to the end of the work, by more than the work drew at no time."""
    wake = 10.0 + seconds_asleep
    times = np.concatenate([np.arange(0, 10.05, 0.1), wake + 0.1 * np.arange(100)])
    begins, ends = times[:-1], times[1:]
    work = np.maximum(0.0, np.minimum(ends, 10.03) - np.maximum(begins, 5.0))
    tail = np.where(begins == wake, 8.0, 0.0)
    joules = np.concatenate([[0.0], np.cumsum(60 * (ends - begins) + 200 * work + tail)])
    levels = CumulativeEnergy(times=times, joules=joules, time_std=np.full(len(times), 1e-4), tick=0.1, quantum=0.001)
    found = attribute(levels, spans((IDLE, 0, 4.9), ("w", 5.0, 10.03), (IDLE, wake + 0.5, wake + 9)))
    assert found is not None
    assert found.total == pytest.approx(200 * 5.03, rel=0.02)


def readings(*values: float, every: float = 0.1) -> list[tuple[float, float, float]]:
    """A counter read just before and just after each of its ticks."""
    rows = []
    for i, (old, new) in enumerate(pairwise(values), start=1):
        rows += [(i * every - 0.001, i * every - 0.001, old), (i * every + 0.001, i * every + 0.001, new)]
    return rows


def test_differences_have_a_type() -> None:
    still = [6.0 * i for i in range(10)] + [54.0] * 12 + [130.0 + 6 * i for i in range(5)]
    counter = counter_levels(readings(*still), 0.1, limit_watts=300)
    assert counter is not None
    assert counter.differences[0] is Difference.FIRST
    assert set(counter.differences[1:]) == {Difference.NORMAL, Difference.FROZEN}
    back = [6.0 * i for i in range(10)] + [1.0 + 6 * i for i in range(10)]
    counter = counter_levels(readings(*back), 0.1, limit_watts=300)
    assert counter is not None
    assert counter.differences.count(Difference.RESET) == 1
    assert counter_levels(readings(5, 5, 5, 5), 0.1, limit_watts=300) is None
    assert counter_levels([], 0.1, limit_watts=300) is None


def test_ticks_are_put_on_their_grid() -> None:
    random = np.random.default_rng(1)
    rows = [
        (t - random.uniform(0, 0.004), t + random.uniform(0, 0.004), float(i))
        for i, t in enumerate(0.1 * np.arange(1, 60))
    ]
    pairs = [r for i, (a, b, j) in enumerate(rows) for r in ((a, a, j - 1), (b, b, j))]
    counter = counter_levels(pairs, 0.1, limit_watts=300)
    assert counter is not None
    offset = counter.levels.times - 0.1 * np.arange(1, 1 + len(counter.levels.times))
    assert np.max(np.abs(offset)) < 0.001


def test_of_few_readings_nobody_knows_whether_they_are_averages() -> None:
    work = spans((IDLE, 0, 4), ("work", 4, 6), (IDLE, 6, 10))
    log = [(0.1 * n, 260.0 if 40 < n <= 60 else 60.0) for n in range(101)]
    assert averages(log, work, 1.0) is False
    assert averages(log[38 : 38 + FEWEST_READINGS - 1], work, 1.0) is None
    assert averages([], work, 1.0) is None


def test_a_tick_far_from_the_grid_is_known_as_well_as_its_bracket() -> None:
    """One comes 20 ms late, between two readings 2 ms apart: it is there, evenly likely anywhere in between."""
    true = 0.1 * np.arange(1, 60) + np.where(np.arange(1, 60) == 30, 0.02, 0.0)
    pairs = [r for i, t in enumerate(true) for r in ((t - 0.001, t - 0.001, i), (t + 0.001, t + 0.001, i + 1))]
    counter = counter_levels([(a, b, float(j)) for a, b, j in pairs], 0.1, limit_watts=300)
    assert counter is not None
    (at,) = np.flatnonzero(counter.levels.joules == 30)
    assert counter.levels.times[at] == pytest.approx(true[29], abs=1e-9)
    assert counter.levels.time_std[at] == pytest.approx(0.002 / math.sqrt(12))


def test_a_counter_too_slow_for_the_probe_has_a_tick_in_its_log() -> None:
    """Updated every 1.3 s, read every 50 ms: when its values were true is known to much less than one reading."""
    asked = 0.0501 * np.arange(800)
    number = np.floor((asked - 0.47) / 1.3)
    log = [(float(a), float(a) + 1e-4, 80.0 * float(n)) for a, n in zip(asked, number, strict=True)]
    counter = counter_levels(log, None, limit_watts=300)
    assert counter is not None
    assert counter.levels.tick == pytest.approx(1.3, rel=0.05)
    true = 0.47 + 1.3 * counter.levels.joules / 80
    assert np.abs(counter.levels.times - true).max() < 0.015
    assert set(counter.differences[1:]) == {Difference.NORMAL}


def test_samples_survive_and_are_small() -> None:
    random = np.random.default_rng(2)
    times = 1000 + np.cumsum(random.uniform(0.04, 0.06, 2000))
    counter = [(round(t, 6), round(t + 3e-5, 6), round(60 * t, 3)) for t in times.tolist()]
    power = [(round(t, 6), round(60 + random.normal(), 3)) for t in times.tolist()]
    recording = Recording(
        counter=counter,
        power=power,
        telemetry=({"time": 1.0, "celsius": None, "foreign": [3]},),
        probe=Probe(tick=0.1),
        events=({"event": "lost", "time": 2.0},),
    )
    marks = tuple(spans((IDLE, 0.1, 2.0), ("text", 2.0, 2.5)))
    data = encode_samples(recording, marks)
    again, same = decode_samples(data)
    assert same == marks
    assert (again.telemetry, again.probe, again.events) == (recording.telemetry, recording.probe, recording.events)
    assert np.allclose(again.counter, counter, atol=1e-6, rtol=0)
    assert np.allclose(again.power, power, atol=1e-6, rtol=0)
    assert len(data) < 12 * 2 * len(times)
    assert decode_samples(encode_samples(Recording()))[0] == Recording()
    for bad in (b"", b"text", data[: len(data) // 2]):
        with pytest.raises(ValueError, match="samples"):
            decode_samples(bad)


@pytest.mark.parametrize("line", [b'{"version":1}', b"[]", b'{"version":2}', b"{}"])
def test_what_is_no_sample_is_refused_in_one_way(line: bytes) -> None:
    with pytest.raises(ValueError, match="no samples that can be read"):
        decode_samples(zlib.compress(line + b"\n"))


def test_a_kept_log_can_be_judged_again() -> None:
    levels = exact((4.0, 300), (5.0, 0))
    counter = [(float(t), float(t), float(j)) for t, j in zip(levels.times, levels.joules, strict=True)]
    recording = Recording(counter=counter, probe=Probe(has_counter=True))
    marks = spans((IDLE, 0, 3.9), ("w", 4, 5), (IDLE, 6, 10))
    first = evaluate(recording, marks)
    assert first.total_joules == pytest.approx(300, rel=0.01)
    assert evaluate(*decode_samples(encode_samples(recording, marks))).total_joules == pytest.approx(first.total_joules)


@pytest.mark.parametrize("degrees", [1, 2, 5, 20, 21, 30, 100, 10000])
def test_students_t(degrees: int) -> None:
    assert t_975(degrees) == pytest.approx(t.ppf(0.975, degrees), rel=1e-3)


def test_repeats() -> None:
    assert mean_and_error([1.0, 2.0, 3.0]) == (2.0, pytest.approx(1 / math.sqrt(3)))
    assert relative_halfwidth([5.0]) == math.inf
    assert relative_halfwidth([0.0, 0.0]) == math.inf
    assert relative_halfwidth([2.0, 2.0]) == 0.0
