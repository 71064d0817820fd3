"""Commands whose power nobody announced: bursts, ramps, tails, counters that leap a little, sensors that look away."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from scipy.stats import binom

from tests.fake_nvml.board import Code, Fault
from tests.fake_nvml.fake import Fake
from tests.unit.workers.meters.stage import PART_TIME, Window, command, rms

SEEDS = range(10)
STEADY = [(250.0, 0.5)]
LONG = [(250.0, 2.0)]
UNKNOWN_PART_TIME = "NVIDIA GH200 480GB"  # a board that the catalog lacks


def tail(tau: float, watts: float = 250.0, step: float = 0.02) -> list[tuple[float, float]]:
    """A power that decays."""
    return [(watts * math.exp(-(i + 0.5) * step / tau), step) for i in range(int(6 * tau / step))]


def jump(after: float, joules: float) -> Callable[[Fake, float], None]:
    return lambda gpu, start: gpu.fault(Fault.JUMP, start=start + after, value=joules)


def covered(windows: list[Window]) -> bool:
    known = [w for w in windows if w.energy.total_joules is not None]
    return sum(w.covered for w in known) >= binom.ppf(0.01, len(known), 0.95)


INSIDE = {
    "steady": STEADY,
    "bursts": [(250, 0.05), (0, 0.05)] * 20,
    "short bursts": [(250, 0.03), (0, 0.045)] * 20,
    "ramp": [(25 * i, 0.1) for i in range(12)],
    "less than idle": [(-20, 1.5)],
}


@pytest.mark.parametrize("profile", INSIDE.values(), ids=INSIDE)
@pytest.mark.parametrize("period", [0.02, 0.1])
def test_what_goes_on_inside_does_not_matter(profile: list[tuple[float, float]], period: float) -> None:
    windows = [command(profile, seed=seed, counter_period=period) for seed in SEEDS]
    assert covered(windows)
    assert all(abs(w.error) < 0.01 for w in windows)
    assert not any(w.energy.flags for w in windows)


@pytest.mark.parametrize("profile", INSIDE.values(), ids=INSIDE)
def test_a_late_host_raises_no_false_alarm(profile: list[tuple[float, float]]) -> None:
    windows = [command(profile, seed=seed, late=0.01) for seed in SEEDS]
    assert covered(windows)
    assert all(abs(w.error) < 0.02 for w in windows)
    assert not any(w.energy.flags for w in windows)


@pytest.mark.parametrize("tau", [0.05, 0.1, 0.3])
def test_a_short_tail_after_the_work_is_none_of_its_energy(tau: float) -> None:
    windows = [command(STEADY, after=tail(tau), seed=seed) for seed in SEEDS]
    assert covered(windows)
    assert rms(windows) < 0.025  # its own energy is 10 to 60 % of the work's


@pytest.mark.parametrize(("tau", "most"), [(0.5, 0.01), (1.0, 0.005), (2.0, 0.03)])
def test_a_long_tail_does_not_become_the_baseline(tau: float, most: float) -> None:
    windows = [command(LONG, after=tail(tau), seed=seed, idle=5.0, tail=1.0) for seed in SEEDS]
    assert covered(windows)
    assert all(abs(w.error) < most for w in windows)


@pytest.mark.parametrize(
    ("profile", "joules", "after"),
    [(STEADY, -28, 0.25), (STEADY, 20, 0.25), (LONG, -30, 1.0), (LONG, 30, 1.0), (LONG, 30, 3.5)],
    ids=str,
)
def test_a_counter_that_leaps_by_less_than_a_tick_holds(profile: list[tuple[float, float]], joules: float,
                                                        after: float) -> None:  # fmt: skip
    for seed in SEEDS:
        found = command(profile, at_start=jump(after, joules), seed=seed)
        assert found.energy.flags == ("counter_power_disagree",)


@pytest.mark.parametrize(("scale", "seconds"), [(1.1, 0.5), (0.8, 0.2), (0.93, 2.0), (1.07, 2.0)])
def test_a_scaled_counter_is_found_out_by_idle_and_work(scale: float, seconds: float) -> None:
    for seed in SEEDS:
        assert command([(250, seconds)], counter_scale=scale, seed=seed).energy.flags == ("counter_power_disagree",)


def test_a_counter_that_no_longer_answers_is_told() -> None:
    found = command(LONG, at_start=lambda gpu, start: gpu.fault(Fault.NO_COUNTER, start=start + 1))
    assert found.energy.flags == ("counter_frozen",)
    assert found.error == pytest.approx(0, abs=0.02)


UNSEEN = {
    "varying": [(300, 0.4), (120, 0.3), (320, 0.5), (200, 0.8), (310, 1.0)],
    "0.2 s": [(300, 0.2)],
    "50 ms": [(300, 0.05)],
    "20 ms of 0.1 s": [(300, 0.02), (0, 0.08)],
}


@pytest.mark.parametrize("profile", UNSEEN.values(), ids=UNSEEN)
@pytest.mark.parametrize("board", [{"name": PART_TIME}, {"name": UNKNOWN_PART_TIME, "capability": (9, 0)}], ids=str)
def test_a_sensor_that_looks_away(profile: list[tuple[float, float]], board: dict[str, object]) -> None:
    windows = [command(profile, seed=seed, sensor_window=0.025, **board) for seed in SEEDS]
    assert covered(windows)
    for w in windows:
        assert w.energy.flags == (() if w.energy.total_joules is not None else ("window_too_short",))


def test_a_sensor_in_step_with_the_work_is_found_out_by_the_power() -> None:
    """It sees the same part of every cycle; nothing in the counter tells."""
    windows = [command([(300, 0.05), (50, 0.05)] * 20, seed=s, name=PART_TIME, sensor_window=0.025) for s in SEEDS]
    wrong = [w for w in windows if abs(w.error) > 0.15]
    assert len(wrong) > len(windows) / 2
    assert all("counter_power_disagree" in w.energy.flags for w in wrong)


@pytest.mark.parametrize("average", [False, True])
def test_a_short_idle_is_made_long_enough(average: bool) -> None:
    """0.1 s are two ticks, or less than the average of power goes back."""
    only_average = {"field_instant": False, "field_average": False, "usage_is_average": True}
    errors = {"nvmlDeviceGetTotalEnergyConsumption": Code.NOT_SUPPORTED} if average else None
    board = only_average if average else {}
    windows = [command(LONG, seed=seed, idle=0.1, tail=0.05, errors=errors, **board) for seed in SEEDS]
    assert covered(windows)
    assert all(abs(w.error) < 0.03 for w in windows)


def test_a_counter_that_polling_starves_is_stated_wider_where_there_is_nothing_else() -> None:
    for seed in SEEDS:
        found = command(
            LONG, seed=seed, blind=0.01, field_instant=False, field_average=False,
            errors={"nvmlDeviceGetPowerUsage": Code.NOT_SUPPORTED},
        )  # fmt: skip
        assert found.energy.flags == ("counter_unsupported",)
        assert found.covered
        assert found.energy.total_std_joules is not None
        assert list(found.energy.std_joules.values()) == pytest.approx([found.energy.total_std_joules], rel=0.01)


def test_a_command_that_leaves_the_device_idle_is_no_window_too_short() -> None:
    """Nothing was drawn, and long enough to know it, though a part-time sensor leaves more doubt than that."""
    for seed in SEEDS:
        energy = command([(0.0, 2.0)], seed=seed, name=PART_TIME, sensor_window=0.025).energy
        assert "window_too_short" not in energy.flags
        assert energy.total_joules is not None
        assert energy.total_std_joules is not None
        assert abs(energy.total_joules) < 4 * energy.total_std_joules
