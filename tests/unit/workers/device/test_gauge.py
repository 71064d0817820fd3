"""What a device draws now: read off the fake library, unknown where the device or its driver does not answer."""

from __future__ import annotations

import threading

import pytest

from farm import catalog
from tests.fake_nvml import fake
from tests.fake_nvml.board import Code, Device, Fault
from workers.device.gauge import UNKNOWN, BoardGauge, GaugeThread, Reading
from workers.meters import simulated_watts
from workers.meters.clock import VirtualClock
from workers.meters.simulated.meter import SimulatedMeter


def test_a_board_says_its_power_and_temperature(tmp_path):
    with fake.load(tmp_path, Device(idle=60.0, temperature=45.0)) as gpu:
        gauge = BoardGauge(0)
        gpu.advance(1.0)
        assert gauge.read() == Reading(60.0, 45)
        gpu.draw(240.0)
        gpu.advance(2.0)
        assert gauge.read().power_watts == pytest.approx(300.0)
        assert gpu.polls() == 0  # the energy counter, of which some boards lose by being read, is left alone
        gauge.close()


def test_a_board_that_was_lost_is_unknown_until_it_is_back(tmp_path):
    with fake.load(tmp_path, Device(idle=60.0)) as gpu:
        gauge = BoardGauge(0)
        gpu.advance(1.0)
        gpu.fault(Fault.LOST)
        assert gauge.read() == UNKNOWN
        assert gauge.read() == UNKNOWN  # nor can it be opened
        gpu.clear_faults()
        assert gauge.read().power_watts == 60.0


def test_what_a_board_does_not_tell_is_unknown(tmp_path):
    silent = dict.fromkeys(
        ("nvmlDeviceGetPowerUsage", "nvmlDeviceGetFieldValues", "nvmlDeviceGetTemperature"), Code.NOT_SUPPORTED
    )
    with fake.load(tmp_path, Device(), errors=silent):
        assert BoardGauge(0).read() == UNKNOWN


def test_a_driver_that_hangs_holds_nobody_up_and_says_nothing_of_now():
    hangs, closing, read_once = threading.Event(), threading.Event(), threading.Event()

    def read() -> Reading:
        if read_once.is_set():
            hangs.wait()
        read_once.set()
        return Reading(60.0, 45.0)

    thread = GaugeThread(read, period_seconds=0.05, closing=closing)
    thread.start()
    assert read_once.wait(10)
    while thread.latest() != UNKNOWN:  # soon: it does not wait for the driver
        closing.wait(0.01)
    hangs.set()
    while thread.latest() != Reading(60.0, 45.0):
        closing.wait(0.01)
    closing.set()


def test_a_look_that_fails_is_logged_and_the_next_may_do_better(caplog):
    closing, answers = threading.Event(), iter([ValueError("odd"), Reading(1.0, 2.0)])

    def read() -> Reading:
        answer = next(answers, Reading(1.0, 2.0))
        if isinstance(answer, Exception):
            raise answer
        return answer

    thread = GaugeThread(read, period_seconds=0.01, closing=closing)
    thread.start()
    while thread.latest() == UNKNOWN:
        closing.wait(0.01)
    closing.set()
    assert "could not be looked at" in caplog.text


def test_a_simulated_device_draws_what_its_phase_draws():
    seen = []

    class Clock(VirtualClock):
        def sleep(self, seconds: float) -> None:
            seen.append(simulated_watts(meter, "a100"))
            super().sleep(seconds)

    idle = catalog.gpu("a100").idle_watts
    assert simulated_watts(None, "a100") == idle
    meter = SimulatedMeter(catalog.gpu("a100"))
    meter.clock = Clock()
    assert simulated_watts(meter, "a100") == idle
    meter.draw(240.0, 2.0)
    assert seen == [idle + 240.0]
    assert simulated_watts(meter, "a100") == idle
