"""The fake GPU is only worth something if its own arithmetic is right: checked by hand-made integrals."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pynvml
import pytest

from tests.fake_nvml import fake
from tests.fake_nvml.board import Code, Device, Fault, Noise, Throttle


@pytest.fixture
def nvml():
    """nvidia-ml-py, shut down when the test ends; ``nvml()`` initialises and returns the handle of device 0."""
    opened = 0

    def start(index: int = 0):
        nonlocal opened
        pynvml.nvmlInit()
        opened += 1
        return pynvml.nvmlDeviceGetHandleByIndex(index)

    yield start
    for _ in range(opened):
        pynvml.nvmlShutdown()


def joules(handle) -> float:
    return pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000


def test_truth_is_the_integral_of_the_script(tmp_path: Path) -> None:
    with fake.load(tmp_path, Device(idle=60, drift=0.1)) as gpu:
        gpu.burst(start=10, seconds=0.5, watts=240)
        gpu.draw(0, at=20, slope=10)  # a ramp to 20 W
        gpu.draw(0, at=22)
        assert gpu.dynamic(0, 15) == pytest.approx(120)
        assert gpu.dynamic(10.25, 10.3) == pytest.approx(12)
        assert gpu.dynamic(15, 30) == pytest.approx(20)
        assert gpu.truth(0, 30) == pytest.approx(140 + 60 * 30 + 0.1 * 30**2 / 2)


def test_counter_shows_the_last_tick_that_was_published(tmp_path: Path, nvml) -> None:
    device = Device(idle=100, counter_period=0.1, counter_phase=0.03, counter_latency=0.02, counter_start=1000)
    with fake.load(tmp_path, device) as gpu:
        handle = nvml()
        gpu.advance(5.14)
        assert joules(handle) == pytest.approx(1000 + 100 * 5.03, abs=0.002)  # the tick at 5.13 comes out at 5.15
        gpu.advance(0.02)
        assert joules(handle) == pytest.approx(1000 + 100 * 5.13, abs=0.002)


def test_average_and_instant_power_are_different_things(tmp_path: Path, nvml) -> None:
    with fake.load(tmp_path, Device(idle=60, usage_is_average=True)) as gpu:
        handle = nvml()
        gpu.draw(240, at=10)
        gpu.advance(10.5)
        instant, average = (
            v.value.uiVal / 1000
            for v in pynvml.nvmlDeviceGetFieldValues(
                handle, [pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_FI_DEV_POWER_AVERAGE]
            )
        )
        assert instant == pytest.approx(300)
        assert average == pytest.approx(180)  # half a second of the last one
        assert pynvml.nvmlDeviceGetPowerUsage(handle) / 1000 == pytest.approx(180)


def test_part_time_sensor_sees_a_quarter_of_the_time(tmp_path: Path, nvml) -> None:
    with fake.load(tmp_path, Device(idle=60, sensor_window=0.025, counter_start=0)) as gpu:
        handle = nvml()
        gpu.burst(start=10.0, seconds=0.07, watts=200)  # asleep during all of it: awake from 0.075 on
        gpu.burst(start=20.08, seconds=0.02, watts=200)  # awake for all of it
        gpu.advance(15)
        assert joules(handle) == pytest.approx(15 * 60, abs=0.01)
        gpu.advance(15)
        assert joules(handle) == pytest.approx(30 * 60 + 200 * 0.02 * 4, abs=0.01)


def test_noise_has_the_stated_size_and_is_in_the_truth_or_not(tmp_path: Path, nvml) -> None:
    noise = Noise(white=3, correlated=4, correlation_seconds=1.0, seed=7)
    with fake.load(tmp_path / "a", Device(noise=noise)) as gpu:
        watts = [gpu.watts(0.005 * k + 0.001) - 60 for k in range(100_000)]
        mean = sum(watts) / len(watts)
        assert math.sqrt(sum((w - mean) ** 2 for w in watts) / len(watts)) == pytest.approx(5, rel=0.05)
        lagged = sum(a * b for a, b in zip(watts[:-200], watts[200:], strict=True)) / len(watts)
        assert lagged == pytest.approx(16 * math.exp(-1), rel=0.2)  # one second apart
        assert gpu.dynamic(0, 500) == pytest.approx(sum(watts) * 0.005, abs=0.01)
    with fake.load(tmp_path / "b", Device(sensor_noise=noise, counter_start=0)) as gpu:
        handle = nvml()
        gpu.advance(500)
        assert gpu.truth(0, 500) == pytest.approx(60 * 500)
        assert joules(handle) == pytest.approx(60 * 500 + sum(watts) * 0.005, abs=1)


@pytest.mark.parametrize(("interval", "seen"), [(0.5, 1 - 0.013 / 0.5), (0.1, 1 - 0.013 / 0.1), (0.013, 0.0)])
def test_looking_often_makes_the_counter_miss_energy(tmp_path: Path, nvml, interval: float, seen: float) -> None:
    with fake.load(tmp_path, Device(idle=100, blind=0.013, counter_start=1e4, counter_period=0.001)) as gpu:
        handle = nvml()
        gpu.advance(1)
        first, count = joules(handle), 100
        for _ in range(count):
            gpu.advance(interval)
            last = joules(handle)
        assert (last - first) / (100 * interval * count) == pytest.approx(seen, abs=0.02)
        assert gpu.polls() == count + 1


def test_faults_come_and_go(tmp_path: Path, nvml) -> None:
    with fake.load(tmp_path, Device(idle=100, counter_start=1000)) as gpu:
        handle = nvml()
        gpu.fault(Fault.FREEZE, start=10, end=12)
        gpu.fault(Fault.RESET, start=20)
        gpu.fault(Fault.NO_COUNTER, start=30, end=31)
        gpu.fault(Fault.THROTTLE, start=40, end=41, value=Throttle.POWER_BRAKE)
        gpu.fault(Fault.PROCESS, start=40, value=4242)
        gpu.fault(Fault.MIG, start=40)
        gpu.fault(Fault.TEMPERATURE, start=40, value=77)
        gpu.fault(Fault.LOST, start=50)
        gpu.advance(11.5)
        assert joules(handle) == pytest.approx(2000, abs=0.01)
        gpu.advance(1)
        assert joules(handle) == pytest.approx(2250, abs=0.01)
        gpu.advance(10)
        assert joules(handle) == pytest.approx(250, abs=0.01)
        gpu.advance(8)
        with pytest.raises(pynvml.NVMLError_NotSupported):
            joules(handle)
        assert pynvml.nvmlDeviceGetComputeRunningProcesses(handle) == []
        gpu.advance(10)
        assert pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle) == Throttle.POWER_BRAKE
        assert [p.pid for p in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)] == [4242]
        assert pynvml.nvmlDeviceGetMigMode(handle) == [1, 1]
        assert pynvml.nvmlDeviceGetTemperatureV(handle, pynvml.NVML_TEMPERATURE_GPU) == 77
        gpu.advance(10)
        with pytest.raises(pynvml.NVMLError_GpuIsLost):
            joules(handle)
        with pytest.raises(pynvml.NVMLError_GpuIsLost):
            pynvml.nvmlDeviceGetHandleByIndex(0)


def test_hidden_devices_shift_the_indices(tmp_path: Path, nvml) -> None:
    devices = Device(hidden=True), Device(name="NVIDIA RTX A4000", architecture="Ampere"), Device(name="NVIDIA H100")
    with fake.load(tmp_path, *devices):
        handle = nvml()
        assert pynvml.nvmlDeviceGetCount() == 2
        assert pynvml.nvmlDeviceGetName(handle) == "NVIDIA RTX A4000"
        assert pynvml.nvmlDeviceGetIndex(handle) == 0
        uuid = pynvml.nvmlDeviceGetUUID(handle)
        assert pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByUUID(uuid)) == "NVIDIA RTX A4000"
        assert pynvml.nvmlDeviceGetPciInfo(handle).busId == "00000000:02:00.0"
        with pytest.raises(pynvml.NVMLError_InvalidArgument):
            pynvml.nvmlDeviceGetHandleByIndex(2)


def test_functions_can_be_switched_off(tmp_path: Path, nvml) -> None:
    errors = {"nvmlDeviceGetFieldValues": Code.FUNCTION_NOT_FOUND, "nvmlDeviceGetMigMode": Code.NO_PERMISSION}
    with fake.load(tmp_path, errors=errors):
        handle = nvml()
        with pytest.raises(pynvml.NVMLError_FunctionNotFound):
            pynvml.nvmlDeviceGetFieldValues(handle, [186])
        with pytest.raises(pynvml.NVMLError_NoPermission):
            pynvml.nvmlDeviceGetMigMode(handle)
    with fake.load(tmp_path, errors={"nvmlInit": Code.DRIVER_NOT_LOADED}) as gpu:
        code = "import pynvml; pynvml.nvmlInit()"
        done = subprocess.run([sys.executable, "-c", code], env=gpu.environment(), capture_output=True, text=True)
        assert "Driver Not Loaded" in done.stderr


def test_another_process_sees_and_drives_the_same_device(tmp_path: Path) -> None:
    with fake.load(tmp_path, Device(counter_start=0, idle=10)) as gpu:
        subprocess.run([sys.executable, "-m", "tests.fake_nvml.fake", "2", "100"], env=gpu.environment(), check=True)
        assert gpu.now() == pytest.approx(2)
        assert gpu.dynamic(0, 2) == pytest.approx(200)
        code = (
            "import pynvml as n; n.nvmlInit(); "
            "print(n.nvmlDeviceGetTotalEnergyConsumption(n.nvmlDeviceGetHandleByIndex(0)))"
        )
        env = gpu.environment()
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        assert int(done.stdout) == 220_000
