"""A device that NVML does not give: what is raised says whether it was asked for wrongly, is gone, or only refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm.domain import DeviceLost, FarmError, MeterError, RequestError
from tests.fake_nvml import fake
from tests.fake_nvml.board import Code, Device, Fault
from workers.device.nvml.device import NvmlDevice


@pytest.mark.parametrize("device", [1, "1", "GPU-there-is-none", "²"])
def test_a_device_that_is_not_there_is_a_wrong_request(tmp_path: Path, device: int | str) -> None:
    with fake.load(tmp_path, Device()), pytest.raises(RequestError, match="an index from 0 to 0, or a UUID"):
        NvmlDevice(device)


@pytest.mark.parametrize(
    ("code", "error_type", "words"),
    [
        (Code.NO_PERMISSION, MeterError, "device 0 does not answer: Insufficient Permissions: this user may not open"),
        (Code.UNKNOWN, MeterError, "device 0 does not answer: Unknown Error: try nvidia-smi -i 0"),
        (Code.GPU_IS_LOST, DeviceLost, "device 0 does not answer: GPU is lost: it fell off the bus"),
        (Code.RESET_REQUIRED, DeviceLost, "device 0 does not answer: .*nvidia-smi --gpu-reset -i 0"),
        (Code.DRIVER_NOT_LOADED, MeterError, "NVML cannot be used: .*not loaded"),
    ],
)
def test_a_device_that_does_not_answer_is_no_wrong_request(
    tmp_path: Path, code: Code, error_type: type[FarmError], words: str
) -> None:
    with fake.load(tmp_path, errors={"nvmlDeviceGetHandleByIndex": code}), pytest.raises(error_type, match=words):
        NvmlDevice(0)


def test_a_device_that_goes_away_before_its_name_is_known_is_named_as_it_was_asked_for(tmp_path: Path) -> None:
    errors = {"nvmlDeviceGetIndex": Code.GPU_IS_LOST}
    with fake.load(tmp_path, errors=errors), pytest.raises(DeviceLost, match="device 0: GPU is lost"):
        NvmlDevice(0)


def test_a_device_that_goes_away_later_is_named(tmp_path: Path) -> None:
    with fake.load(tmp_path, Device(name="NVIDIA H100")) as gpu:
        device = NvmlDevice(0)
        gpu.fault(Fault.LOST)
        with pytest.raises(DeviceLost, match="device NVIDIA H100: GPU is lost"):
            device.temperature_celsius()
        device.close()
