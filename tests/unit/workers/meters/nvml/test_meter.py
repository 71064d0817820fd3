"""The NVML meter against known power: the real nvidia-ml-py over the fake C library, in virtual time, fixed seeds."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest
from scipy.stats import binom

from farm.domain import DeviceLost, MeterError, RequestError
from tests.fake_nvml import fake
from tests.fake_nvml.board import Code, Device, Fault, Noise, Throttle
from tests.unit.workers.meters.stage import (
    PART_TIME,
    PLAIN,
    WANDERING,
    WHITE,
    LateClock,
    Window,
    bias,
    bursts,
    one,
    rms,
    window,
)
from workers.device.host import in_pid_namespace
from workers.meters.base import Span
from workers.meters.clock import VirtualClock
from workers.meters.nvml.meter import NvmlMeter


@pytest.mark.parametrize("tick", [0.02, 0.1])
@pytest.mark.parametrize(
    ("seconds", "count", "most"), [(0.05, 60, 0.02), (0.2, 60, 0.01), (1.0, 40, 0.005), (3.0, 30, 0.005)]
)
def test_error_over_random_phases(tick: float, seconds: float, count: int, most: float) -> None:
    windows = bursts(count, seconds, counter_period=tick, seed=round(1000 * seconds))
    assert rms(windows) <= most
    assert all(w.energy.total_joules > 0 for w in windows)
    if seconds >= 0.2:
        assert abs(bias(windows)) <= 0.003


@pytest.mark.parametrize("tick", [0.01, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("late", [0.005, 0.02])
def test_a_host_that_wakes_late(tick: float, late: float, tmp_path: Path) -> None:
    """30 % of all wake-ups: neither is a good counter mistrusted, nor a burst misjudged by more than is stated."""
    limits = {0.05: 0.02, 0.2: 0.01, 1.0: 0.005}
    windows: dict[float, list[Window]] = {seconds: [] for seconds in limits}
    for seed in range(4):
        with fake.load(tmp_path / str(seed), Device(name=PLAIN, noise=WHITE, counter_period=tick)) as gpu:
            gpu.clock = LateClock(gpu, 0.3, late, seed)
            meter = NvmlMeter(0, clock=gpu.clock)
            assert not meter.recording().probe.poll_sensitive
            for seconds, found in windows.items():
                for phase in range(4):
                    gpu.clock.sleep(0.3 * tick * phase)
                    found.append(window(gpu, meter, ("work", 240.0, seconds)))
            meter.close()
    for seconds, found in windows.items():
        assert all(w.energy.notes["method"] == "counter" and not w.energy.flags for w in found)
        assert rms(found) <= limits[seconds]
        assert sum(w.covered for w in found) >= binom.ppf(0.01, len(found), 0.95)


@pytest.mark.parametrize("latency", [0.01, 0.05, 0.15])
@pytest.mark.parametrize("seconds", [0.05, 1.0])
def test_a_late_counter(latency: float, seconds: float) -> None:
    windows = bursts(30, seconds, counter_latency=latency, seed=3)
    assert rms(windows) <= (0.02 if seconds < 0.2 else 0.005)


@pytest.mark.parametrize(
    "counter",
    [
        {"counter_period": 0.004},
        {"counter_period": 0.033},
        {"counter_period": 1.0},
        {"quantum_mj": 1000},
        {"counter_jitter": 0.01, "counter_latency": 0.02},
    ],
    ids=str,
)
def test_other_counters(counter: dict[str, float]) -> None:
    windows = bursts(25, 0.5, seed=6, **counter)
    assert rms(windows) <= 0.01
    assert not any(w.energy.flags for w in windows)
    assert sum(w.covered for w in windows) >= binom.ppf(0.01, len(windows), 0.95)


@pytest.mark.slow
@pytest.mark.parametrize(("board", "part"), [(PART_TIME, 0.025), (PLAIN, float("inf"))])
def test_intervals_cover_the_truth(board: str, part: float) -> None:
    """500 windows of 0.2 to 3 s: not fewer hits than 95 % intervals allow by chance, and none absurdly wide."""
    windows = []
    for number, length in enumerate((0.23, 0.37, 0.56, 1.23, 3.14)):
        windows += bursts(100, length, name=board, noise=WANDERING, sensor_window=part, seed=number, idle=4.0)
    hits = sum(w.covered for w in windows)
    assert hits >= binom.ppf(0.01, len(windows), 0.95)
    errors = sorted(abs(w.energy.total_joules - w.joules) / w.energy.total_std_joules for w in windows)
    assert errors[len(errors) // 2] > 0.25  # the median error is no small part of what is stated


def test_a_part_time_sensor_is_refused_what_it_did_not_see() -> None:
    windows = bursts(60, 0.05, name=PART_TIME, sensor_window=0.025, seed=4)
    refused = [w for w in windows if w.energy.total_joules is None]
    assert refused
    for w in refused:
        assert w.energy.flags == ("window_too_short",)
        assert w.energy.notes["shortest_seconds"] == pytest.approx(0.075)
        assert w.energy.total_std_joules is None
    stated = [w for w in windows if w.energy.total_joules is not None]
    assert len(stated) > 20
    assert all(w.covered for w in stated)


def test_no_false_flags_in_clean_runs() -> None:
    """200 clean runs with noise, a part-time or full sensor, ticks of 20 and 100 ms: at most 1 % of them flagged."""
    windows = []
    for number, (board, part, tick) in enumerate(
        [(PART_TIME, 0.025, 0.1), (PART_TIME, 0.025, 0.02), (PLAIN, 1.0, 0.1), (PLAIN, 1.0, 0.02)]
    ):
        noise = WANDERING if number % 2 else WHITE
        kwargs = {"name": board, "sensor_window": part, "counter_period": tick, "noise": noise}
        windows += bursts(25, 0.7, seed=number, **kwargs) + bursts(25, 2.9, seed=number + 10, **kwargs)
    assert len(windows) == 200
    assert sum(bool(w.energy.flags) for w in windows) <= 2


FAULTS = {
    "reset": (Fault.RESET, 1.0, "counter_reset"),
    "reset before the work": (Fault.RESET, -1.0, "counter_reset"),
    "freeze": (Fault.FREEZE, 0.5, "counter_frozen"),
    "freeze in the idle after": (Fault.FREEZE, 4.0, "counter_frozen"),
    "lost": (Fault.LOST, 1.5, "gpu_lost"),
    "power stands still": (Fault.STUCK_POWER, -2.0, "counter_power_disagree"),
}


@pytest.mark.parametrize(("kind", "after", "flag"), FAULTS.values(), ids=FAULTS)
def test_a_fault_on_the_way_is_flagged(kind: Fault, after: float, flag: str) -> None:
    found = one(at_start=lambda gpu, start: gpu.fault(kind, start=start + after))
    assert flag in found.energy.flags
    assert found.energy.complete == (flag != "gpu_lost")
    if found.energy.complete:
        assert found.covered
    else:  # what was drawn until the device went, 1.5 of 3 s, but for a tick
        assert found.energy.total_joules == pytest.approx(found.joules / 2, abs=40)


@pytest.mark.parametrize("joules", [1e6, 1e3, -500.0])
def test_a_counter_that_leaps_is_flagged_and_its_energy_taken_from_the_power(joules: float) -> None:
    found = one(at_start=lambda gpu, start: gpu.fault(Fault.JUMP, start=start + 1, value=joules))
    assert found.energy.flags == ("counter_reset",)
    assert found.error == pytest.approx(0, abs=0.02)


def test_a_lost_device_keeps_the_energy_until_then() -> None:
    found = one(at_start=lambda gpu, start: gpu.fault(Fault.LOST, start=start + 1.5)).energy
    assert found.total_joules == pytest.approx(450, abs=35)  # to the last tick before it went
    assert not found.complete


def test_a_device_lost_before_the_work_has_no_energy() -> None:
    found = one(at_start=lambda gpu, start: gpu.fault(Fault.LOST, start=start - 1)).energy
    assert found.total_joules is None
    assert found.dynamic_joules == {"work": None}


@pytest.mark.parametrize(("mask", "flags"), [
    (Throttle.THERMAL_SOFTWARE, ("throttled_thermal",)),
    (Throttle.THERMAL_HARDWARE, ("throttled_thermal",)),
    (Throttle.HARDWARE, ("throttled_thermal",)),
    (Throttle.POWER_BRAKE, ("throttled_brake",)),
    (Throttle.HARDWARE | Throttle.POWER_BRAKE, ("throttled_brake",)),
    (Throttle.POWER_CAP, ("throttled_power_cap",)),
    (0x01, ()),  # idle clocks are no throttling
])  # fmt: skip
def test_throttling(mask: int, flags: tuple[str, ...]) -> None:
    def throttle(gpu: fake.Fake, start: float) -> None:
        gpu.fault(Fault.THROTTLE, start=start + 0.5, end=start + 2, value=mask)

    assert one(at_start=throttle).energy.flags == flags


def test_throttling_shorter_than_the_telemetry_shows() -> None:
    def throttle(gpu: fake.Fake, start: float) -> None:
        gpu.fault(Fault.THROTTLE, start=start + 0.31, end=start + 0.49, value=Throttle.THERMAL_HARDWARE)

    assert one(at_start=throttle).energy.flags == ("throttled_thermal",)


def test_a_short_freeze_of_a_fast_counter() -> None:
    def freeze(gpu: fake.Fake, start: float) -> None:
        gpu.fault(Fault.FREEZE, start=start + 0.31, end=start + 1.01)

    assert "counter_frozen" in one(at_start=freeze, counter_period=0.02).energy.flags


def test_throttling_long_before_the_work_is_none_of_its() -> None:
    def throttle(gpu: fake.Fake, start: float) -> None:
        gpu.fault(Fault.THROTTLE, start=start - 3, end=start - 2, value=Throttle.POWER_BRAKE)

    assert one(at_start=throttle).energy.flags == ()


@pytest.mark.parametrize(("kind", "value", "flag"), [
    (Fault.PROCESS, 2**22 + 7, "foreign_process"),
    (Fault.MIG, 0, "mig_enabled"),
])  # fmt: skip
def test_company_is_flagged(kind: Fault, value: float, flag: str) -> None:
    assert one(before=lambda gpu: gpu.fault(kind, value=value)).energy.flags == (flag,)


def test_newcomers_that_cannot_be_identified_are_named_and_spoil_nothing() -> None:
    """As the processes of a command in a container, which NVML names by their ids outside it."""

    def appear(gpu: fake.Fake, start: float) -> None:
        for number in (9, 7):
            gpu.fault(Fault.PROCESS, start=start, value=2**22 + number)

    found = one(at_start=appear).energy
    assert found.flags == ()
    assert found.notes["unknown_processes"] == [2**22 + 7, 2**22 + 9]
    assert one().energy.notes["unknown_processes"] == []
    with tempfile.TemporaryDirectory() as folder:  # where NVML lists nobody, nothing is known
        silent = dict.fromkeys(["nvmlDeviceGetComputeRunningProcesses"], Code.NOT_SUPPORTED)
        with fake.load(Path(folder), Device(name=PLAIN), errors=silent) as gpu:
            meter = NvmlMeter(0, clock=gpu.clock)
            assert window(gpu, meter, ("work", 300.0, 1.0)).energy.notes["unknown_processes"] is None
            meter.close()


@pytest.mark.skipif(in_pid_namespace(), reason="in a container an id of NVML's may mean another process here")
def test_a_newcomer_that_is_known_to_be_foreign_spoils() -> None:
    foreign = os.getppid()
    found = one(at_start=lambda gpu, start: gpu.fault(Fault.PROCESS, start=start, value=foreign)).energy
    assert found.flags == ("foreign_process",)
    assert found.notes["unknown_processes"] == []


@pytest.mark.parametrize("scale", [0.57, 0.9, 1.1])
def test_a_counter_that_disagrees_with_the_power(scale: float) -> None:
    assert one(counter_scale=scale).energy.flags == ("counter_power_disagree",)


def test_a_counter_that_polling_starves_is_left_alone() -> None:
    found = one(blind=0.01)
    assert found.energy.notes["method"] == "power"
    assert found.energy.flags == ("counter_unsupported",)
    assert found.error == pytest.approx(0, abs=0.02)
    assert one(blind=0.2).error == pytest.approx(0, abs=0.02)  # though much is lost even at one look a second


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("board", [PLAIN, PART_TIME, "Some board"])
def test_without_a_counter_power_stands_in(average: bool, board: str) -> None:
    """Only nvmlDeviceGetPowerUsage, of either kind, whatever the board's name makes one expect: within 3 % from 3 s."""
    for seconds in (3.0, 7.3):
        found = one(
            ("work", 300.0, seconds),
            before=lambda gpu: gpu.fault(Fault.NO_COUNTER),
            name=board,
            field_instant=False,
            field_average=False,
            usage_is_average=average,
        )
        assert found.energy.flags == ("counter_unsupported",)
        assert found.error == pytest.approx(0, abs=0.03)
        assert found.energy.notes["power_averaged"] == average


def test_nothing_to_read_is_null() -> None:
    with tempfile.TemporaryDirectory() as folder:
        none = dict.fromkeys(
            ["nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetFieldValues"],
            Code.NOT_SUPPORTED,
        )
        with fake.load(Path(folder), Device(name=PLAIN), errors=none) as gpu:
            meter = NvmlMeter(0, clock=gpu.clock)
            found = window(gpu, meter, ("work", 300.0, 1.0)).energy
            meter.close()
    assert found.total_joules is None
    assert found.gross_joules is None
    assert found.idle_watts is None
    assert found.flags == ("counter_unsupported",)


@pytest.mark.parametrize("code", [Code.NOT_SUPPORTED, Code.NO_PERMISSION, Code.FUNCTION_NOT_FOUND, Code.UNKNOWN])
def test_a_library_that_has_little_more_than_the_counter(code: int) -> None:
    names = [
        "PowerUsage", "FieldValues", "Temperature", "ClockInfo", "CurrentClocksThrottleReasons", "PciInfo", "Index",
        "CurrentClocksEventReasons", "MigMode", "EnforcedPowerLimit", "PerformanceState", "PersistenceMode",
        "ComputeRunningProcesses",
    ]  # fmt: skip
    errors = {f"nvmlDeviceGet{name}": code for name in names} | {"nvmlSystemGetDriverVersion": code}
    with tempfile.TemporaryDirectory() as folder, fake.load(Path(folder), Device(name=PLAIN), errors=errors) as gpu:
        meter = NvmlMeter(0, clock=gpu.clock)
        found = window(gpu, meter, ("work", 300.0, 1.0))
        assert meter.environment()["temperature_celsius"] is None
        meter.close()
    assert found.energy.flags == ()
    assert found.error == pytest.approx(0, abs=0.005)


@pytest.mark.parametrize(
    ("board", "errors", "limit"),
    [
        ({}, {}, 1410),  # applications run faster than at the clock that a board comes with
        ({"application_clock": 1095}, {}, 1095),
        ({"customer_clock": 1200}, {}, 1200),
        ({"application_clock": 1095}, {"nvmlDeviceGetDefaultApplicationsClock": Code.NOT_SUPPORTED}, 1410),
        ({}, {"nvmlDeviceGetMaxClockInfo": Code.NOT_SUPPORTED}, 1410),
    ],
)
def test_the_clock_that_a_board_is_allowed(
    board: dict[str, int], errors: dict[str, int], limit: int, tmp_path: Path
) -> None:
    with fake.load(tmp_path, Device(name=PLAIN, **board), errors=errors) as gpu:
        meter = NvmlMeter(0, clock=gpu.clock)
        assert meter.environment()["clock_limit_mhz"] == limit
        meter.close()


def test_a_linear_drift_of_idle_costs_nothing() -> None:
    found = one(("work", 300.0, 20.0), drift=6 / 20, noise=Noise())
    assert found.error == pytest.approx(0, abs=0.005)
    assert found.energy.flags == ()


def test_an_idle_that_steps_is_flagged() -> None:
    """From 60 to 90 W in the middle of a window: nobody knows what the idle under the work was."""

    spans = []
    with tempfile.TemporaryDirectory() as folder, fake.load(Path(folder), Device(name=PLAIN, noise=WHITE)) as gpu:
        meter = NvmlMeter(0, clock=gpu.clock)
        meter.start()
        for label, watts, seconds in (("idle", 0, 4.0), ("work", 300, 1.5), ("work", 330, 1.5), ("idle", 30, 4.0)):
            start = meter.edge()
            gpu.draw(watts)
            gpu.clock.sleep(seconds)
            spans.append(Span(label=label, start=start, end=meter.edge()))
        meter.stop()
        assert meter.energy(spans).flags == ("idle_drift",)
        meter.close()


@pytest.mark.parametrize("tick", [0.02, 0.1])
@pytest.mark.parametrize("latency", [0.0, 0.03])
def test_phases_of_half_a_second(tick: float, latency: float) -> None:
    phases = [("text", 150.0, 0.5), ("", 0.0, 0.05), ("denoise", 320.0, 2.0), ("", 0.0, 0.02), ("decode", 250.0, 0.6)]
    found = one(*phases, counter_period=tick, counter_latency=latency)
    for label, watts, seconds in phases:
        if label:
            assert found.energy.dynamic_joules[label] == pytest.approx(watts * seconds, rel=0.03)
    assert sum(found.energy.dynamic_joules.values()) == pytest.approx(found.energy.total_joules, rel=1e-9)
    assert found.error == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("tick", [0.02, 0.1])
def test_a_pause_after_each_image_changes_nothing(tick: float) -> None:
    without = one(*[("denoise", 300.0, 0.7)] * 6, counter_period=tick)
    paused = one(*[("denoise", 300.0, 0.7), ("", 0.0, 1.0)] * 6, counter_period=tick)
    assert paused.energy.total_joules == pytest.approx(without.energy.total_joules, rel=0.005)


def test_bad_devices_are_named() -> None:
    with tempfile.TemporaryDirectory() as folder, fake.load(Path(folder), Device(name=PLAIN)) as gpu:
        for device in (7, -1, "GPU-none", ""):
            with pytest.raises(RequestError, match="device"):
                NvmlMeter(device, clock=gpu.clock)
        gpu.fault(Fault.LOST)
        with pytest.raises(DeviceLost):
            NvmlMeter(0, clock=gpu.clock)


def test_an_error_that_passes_refuses_no_device() -> None:
    errors = {"nvmlDeviceGetHandleByIndex": (Code.UNKNOWN, 2), "nvmlDeviceGetTotalEnergyConsumption": (Code.UNKNOWN, 2)}
    with tempfile.TemporaryDirectory() as folder, fake.load(Path(folder), Device(name=PLAIN), errors=errors) as gpu:
        meter = NvmlMeter(0, clock=gpu.clock)
        assert meter.recording().probe.has_counter
        meter.close()


def test_no_driver_is_said_in_a_line() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        fake.load(Path(folder), errors={"nvmlInit": Code.DRIVER_NOT_LOADED}),
        pytest.raises(MeterError, match="not loaded"),
    ):
        NvmlMeter(0, clock=VirtualClock())


def test_the_sampler_costs_less_than_a_hundredth_of_a_core() -> None:
    """In its own time: CPU seconds for a minute of the virtual clock, the calls to the fake among them."""
    with tempfile.TemporaryDirectory() as folder, fake.load(Path(folder), Device(name=PLAIN)) as gpu:
        meter = NvmlMeter(0, clock=gpu.clock)
        meter.start()
        before = time.process_time()
        gpu.clock.sleep(60)
        spent = time.process_time() - before
        meter.close()
    assert spent < 0.6
