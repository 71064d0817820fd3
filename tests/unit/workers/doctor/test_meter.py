"""The meter's paces over the fake driver, in virtual time: what they say of sensors whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.fake_nvml import fake
from tests.fake_nvml.board import Device, Noise
from workers.doctor import meter as meter_check
from workers.meters.nvml.meter import NvmlMeter

WATTS = 350.0
HOPPER = {"name": "NVIDIA H100 80GB HBM3", "architecture": "Hopper", "capability": (9, 0), "usage_is_average": True}


@contextmanager
def opened(folder: Path, **device: object) -> Iterator[tuple[NvmlMeter, Callable[[float], None]]]:
    """A meter on a fake board, and a load of constant power."""
    values = {"idle": 80.0, "noise": Noise(white=1.0, seed=1), **HOPPER, **device}
    with fake.load(folder, Device(**values)) as gpu, closing(NvmlMeter(0, clock=gpu.clock)) as meter:

        def load(seconds: float) -> None:
            gpu.draw(WATTS)
            gpu.clock.sleep(seconds)
            gpu.draw(0.0)

        yield meter, load


@pytest.mark.parametrize(("window", "low", "high"), [(float("inf"), 0.9, 1.0), (0.025, 0.15, 0.45)])
def test_the_part_that_the_sensor_sees_is_told_by_how_short_windows_scatter(tmp_path, window, low, high) -> None:
    with opened(tmp_path, sensor_window=window) as (meter, load):
        check = meter_check.check_windows(meter, load, 0.05, 40)
    assert check.scatter_percent is not None
    assert low <= meter_check.seen_part(check.scatter_percent, 0.05) <= high


@pytest.mark.parametrize("seconds", [0.2, 1.0, 5.0])
def test_windows_of_a_sensor_that_sees_all_agree_with_truth_and_power_log(tmp_path, seconds) -> None:
    with opened(tmp_path) as (meter, load):
        check = meter_check.check_windows(meter, load, seconds, 10)
    assert check.watts == pytest.approx(WATTS, rel=0.003)
    assert check.scatter_percent < 0.3
    assert abs(check.power_percent) < 0.5


def test_a_counter_with_a_gain_error_differs_from_the_power_log(tmp_path) -> None:
    """Each reading of NVML's power is right, the counter counts 6 % too little: a fault of real boards."""
    with opened(tmp_path, counter_scale=0.94) as (meter, load):
        check = meter_check.check_windows(meter, load, 2.0, 6)
    assert check.power_percent == pytest.approx(100 * (1 / 0.94 - 1), abs=1.0)


def test_the_same_work_repeats(tmp_path) -> None:
    with opened(tmp_path) as (meter, load):
        repeats = meter_check.check_repeats(meter, load, 30.0, 3)
    assert repeats.joules == pytest.approx([30 * WATTS] * 3, rel=0.002)
    assert repeats.cv_percent < 0.1
    assert meter_check.Repeatability(seconds=30.0, joules=(1.0,)).cv_percent is None


def test_idle_power_comes_with_its_noise_and_the_state_of_the_board(tmp_path) -> None:
    with opened(tmp_path) as (meter, _):
        idle = meter_check.idle_power(meter, 5.0)
    assert idle.watts == pytest.approx(80.0, abs=0.5)
    assert 0 < idle.std_watts < 0.5
    assert idle.sm_clock_mhz == 1410
    assert idle.celsius == 45


def test_what_the_log_costs_is_told_in_percent_of_the_work(tmp_path) -> None:
    with opened(tmp_path) as (meter, load):
        start, stop = meter.start, meter.stop
        logs = []
        meter.start, meter.stop = lambda: (logs.append(1), start()), lambda: (logs.clear(), stop())
        cost, error = meter_check.sampling_cost_percent(meter, lambda: load(1.02 if logs else 1.0), 4)
    assert cost == pytest.approx(2.0, abs=0.01)
    assert error < 0.01


@pytest.mark.parametrize("duty", [0.1, 0.25, 0.5, 0.9])
def test_the_scatter_that_a_duty_explains_gives_that_duty_back(duty) -> None:
    scatter = 100 * meter_check._scatter(duty, 0.05, 0.1)
    assert meter_check.seen_part(scatter, 0.05) == pytest.approx(duty, abs=0.011)
