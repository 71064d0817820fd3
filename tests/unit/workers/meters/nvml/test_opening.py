"""What is left of a meter that could not be opened, and when the device of an open one has come to rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pynvml
import pytest

from farm.domain import DeviceLost, MeterError
from tests.fake_nvml import fake
from tests.fake_nvml.board import Code, Device, Fault, Throttle
from workers.meters.codecarbon.meter import CodeCarbonGpuMeter
from workers.meters.nvml.meter import NvmlMeter


@pytest.fixture
def nvml_users(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many users of NVML, counted from here on, have not let go of it."""
    users = [0]

    def counted(call: Callable[[], None], step: int) -> Callable[[], None]:
        def wrapped() -> None:
            call()
            users[0] += step

        return wrapped

    monkeypatch.setattr(pynvml, "nvmlInit", counted(pynvml.nvmlInit, 1))
    monkeypatch.setattr(pynvml, "nvmlShutdown", counted(pynvml.nvmlShutdown, -1))
    return lambda: users[0]


@pytest.mark.parametrize(
    ("meter_type", "function"),
    [
        (NvmlMeter, "nvmlDeviceGetComputeRunningProcesses"),
        (NvmlMeter, "nvmlDeviceGetCudaComputeCapability"),
        (NvmlMeter, "nvmlDeviceGetTotalEnergyConsumption"),
        (CodeCarbonGpuMeter, "nvmlDeviceGetTotalEnergyConsumption"),
    ],
)
def test_a_meter_whose_device_is_lost_while_it_opens_lets_go_of_nvml(
    tmp_path: Path, nvml_users: Callable[[], int], meter_type: Callable[[int], object], function: str
) -> None:
    with fake.load(tmp_path, Device(name="NVIDIA Unheard 1"), errors={function: Code.GPU_IS_LOST}):
        with pytest.raises(DeviceLost):
            meter_type(0)
        assert nvml_users() == 0


def test_codecarbon_is_given_no_other_board_where_nvml_does_not_tell_its_index(tmp_path: Path) -> None:
    with (
        fake.load(tmp_path, Device(name="NVIDIA A100"), errors={"nvmlDeviceGetIndex": Code.NOT_SUPPORTED}),
        pytest.raises(MeterError, match="does not tell the index of NVIDIA A100"),
    ):
        CodeCarbonGpuMeter(0)


def test_a_device_is_steady_after_some_seconds_however_often_its_clocks_are_throttled(tmp_path: Path) -> None:
    with fake.load(tmp_path) as gpu:
        meter = NvmlMeter(0, clock=gpu.clock)
        begin = gpu.now()
        for number in range(5):
            start = begin + 0.5 + 0.2 * number
            gpu.fault(Fault.THROTTLE, start=start, end=start + 0.1, value=Throttle.POWER_CAP)
        meter.start()
        gpu.clock.sleep(2.0)
        assert len(meter.recording().telemetry) > 10
        assert not meter.steady()
        gpu.clock.sleep(3.1)
        assert meter.steady()
        gpu.draw(240.0)
        gpu.clock.sleep(1.0)
        assert not meter.steady()
        meter.close()
