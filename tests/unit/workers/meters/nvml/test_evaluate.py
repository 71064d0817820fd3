"""Logs that are hours long, nearly empty, or say nothing: each is evaluated, soon, and nothing is made up."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from workers.meters.base import IDLE, OTHER, PAD, Energy, Probe, Recording, Span
from workers.meters.nvml.evaluate import evaluate

TICK = 0.1
IDLE_WATTS = 60.0
PHASES = {"text": (200.0, 0.1), "denoise": (300.0, 1.7), "decode": (250.0, 0.2)}  # watts in all, seconds
GAP_SECONDS = 0.05  # between batches, at 100 W
MOST_CPU_SECONDS = 5.0  # 0.7 when this was written; one loop over readings or spans too many makes it minutes


def log_of(batches: int, idle: float = 4.0) -> tuple[Recording, list[Span], float]:
    """What the sampler logs of so many batches: each tick bracketed, power every 50 ms; the spans; the true joules."""
    random = np.random.default_rng(0)
    spans = [Span(label=IDLE, start=0.0, end=idle), Span(label=PAD, start=idle, end=idle + 0.5)]
    now, truth = idle + 0.5, 0.0
    edges, watts = [0.0, now], [IDLE_WATTS]
    for _ in range(batches):
        for label, (draw, seconds) in PHASES.items():
            spans.append(Span(label=label, start=now, end=now + seconds))
            now += seconds
            truth += (draw - IDLE_WATTS) * seconds
            edges.append(now)
            watts.append(draw)
        now += GAP_SECONDS
        edges.append(now)
        watts.append(100.0)
    spans += [Span(label=PAD, start=now, end=now + 0.5), Span(label=IDLE, start=now + 0.5, end=now + 0.5 + idle)]
    edges.append(now + 1 + idle)
    watts.append(IDLE_WATTS)
    energy = np.concatenate([[0.0], np.cumsum(np.array(watts) * np.diff(edges))])
    ticks = np.arange(0.037, edges[-1], TICK)
    joules = np.round(np.interp(ticks, edges, energy) + np.cumsum(random.normal(0, 0.1, len(ticks))), 3).tolist()
    away = random.uniform(0.0008, 0.0016, len(ticks)).tolist()
    counter = []
    for tick, before, after, guard in zip(ticks[1:].tolist(), joules[:-1], joules[1:], away[1:], strict=True):
        counter += [(tick - guard - 1e-4, tick - guard, before), (tick + guard, tick + guard + 1e-4, after)]
    times = np.arange(0.0, edges[-1], 0.05)
    at = np.searchsorted(edges, times, side="right") - 1
    power = zip(times.tolist(), (np.array(watts)[at] + random.normal(0, 1, len(times))).tolist(), strict=True)
    probe = Probe(has_counter=True, tick=TICK, power="instant", power_source="instant", limit_watts=400.0)
    return Recording(counter=tuple(counter), power=tuple(power), probe=probe), spans, truth


def test_a_log_of_hours_and_thousands_of_spans_is_judged_in_seconds() -> None:
    recording, spans, truth = log_of(batches=2600)
    assert len(recording.counter) + len(recording.power) > 210_000  # an hour and a half
    begun = time.process_time()
    found = evaluate(recording, spans)
    assert time.process_time() - begun < MOST_CPU_SECONDS
    assert found.flags == ()
    assert found.total_joules is not None
    assert found.total_std_joules is not None
    assert abs(found.total_joules - truth) < 3 * found.total_std_joules < 0.01 * truth


def unknown(found: Energy) -> bool:
    joules = [found.total_joules, found.gross_joules, *found.dynamic_joules.values(), *found.span_joules]
    return all(value is None for value in joules)


@pytest.mark.parametrize("counter", [0, 1, 2])
@pytest.mark.parametrize("power", [0, 1, 2])
def test_a_log_of_hardly_any_readings_tells_nothing(counter: int, power: int) -> None:
    recording, spans, _ = log_of(batches=1)
    assert unknown(
        evaluate(replace(recording, counter=recording.counter[:counter], power=recording.power[:power]), spans)
    )


def test_power_that_was_all_read_at_one_time_tells_nothing() -> None:
    recording, spans, _ = log_of(batches=1)
    for kind in ("instant", "average_1s"):
        probe = replace(recording.probe, power=kind)
        assert unknown(evaluate(replace(recording, counter=(), power=((1.0, 60.0),) * 5, probe=probe), spans))


def test_a_device_that_says_zero_watts_has_an_energy_of_zero() -> None:
    """As it was read: the noise-free zero is divided by nowhere."""
    recording, spans, _ = log_of(batches=2)
    probe = replace(recording.probe, has_counter=False)
    found = evaluate(
        replace(recording, counter=(), power=tuple((t, 0.0) for t, _ in recording.power), probe=probe), spans
    )
    assert found.total_joules == 0
    assert found.flags == ("counter_unsupported",)


def test_spans_that_hold_no_work_have_no_energy() -> None:
    recording, spans, _ = log_of(batches=2)
    before, after = spans[0], spans[-1]
    empty = Span(label="work", start=6.0, end=6.0)
    for between in ([], [spans[1]], [empty]):
        found = evaluate(recording, [before, *between, after])
        assert found.total_joules is None
        assert found.idle_watts == pytest.approx(IDLE_WATTS, rel=0.02)
    other = evaluate(recording, [before, replace(spans[3], label=OTHER), after])
    assert not other.dynamic_joules


def test_a_span_of_no_length_changes_nothing_beside_it() -> None:
    recording, spans, _ = log_of(batches=2)
    plain = evaluate(recording, spans)
    at = spans[4].end
    found = evaluate(recording, [*spans, Span(label="empty", start=at, end=at)])
    assert found.total_joules == pytest.approx(plain.total_joules)
    assert found.dynamic_joules["empty"] == 0.0
    assert found.std_joules["empty"] == 0.0


@pytest.mark.parametrize("label", [OTHER, "work"])
def test_work_of_no_length_has_no_energy(label: str) -> None:
    recording, spans, _ = log_of(batches=1)
    empty = [spans[0], Span(label=label, start=5.0, end=5.0), spans[-1]]
    found = evaluate(recording, empty)
    assert unknown(found)
    assert found.idle_watts == pytest.approx(IDLE_WATTS, abs=1)
