"""`farm meter` as its users run it: the installed command, a real nvidia-ml-py, real time, a fake device."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import FARM
from tests.fake_nvml import fake
from tests.fake_nvml.fake import Code, Device, Fault, Noise

KEYS = {
    "meter", "device", "exit_code", "seconds", "energy_joules", "idle_watts", "idle_watts_std", "dynamic_joules",
    "dynamic_joules_std", "interval_joules", "power_joules", "flags", "complete",
}  # fmt: skip


def start(gpu: fake.Fake, *arguments: object, **more: str) -> subprocess.Popen[str]:
    command = [FARM, "meter", *map(str, arguments)]
    return subprocess.Popen(
        command, env=gpu.environment(**more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def measure(gpu: fake.Fake, *arguments: object, **more: str) -> tuple[dict, int, str]:
    """(document, exit code, stderr) of `farm meter --json`."""
    process = start(gpu, "--json", *arguments, **more)
    out, err = process.communicate(timeout=60)
    return json.loads(out) if out else {}, process.returncode, err


def draws(*seconds_and_watts: float) -> list[str]:
    return [sys.executable, "-m", "tests.fake_nvml.fake", *map(str, seconds_and_watts)]


@pytest.mark.parametrize("tick", [0.02, 0.1])
def test_a_command_costs_what_it_drew(tmp_path: Path, tick: float) -> None:
    device = Device(
        name="NVIDIA RTX A6000",
        counter_period=tick,
        counter_phase=tick / 3,
        counter_latency=0.005,
        noise=Noise(white=1.0),
    )
    with fake.load(tmp_path, device, clock="real") as gpu:
        begin = time.monotonic()
        found, code, err = measure(gpu, "--idle-seconds", 2, "--", *draws(0.3, 200, 0.4, 0, 0.5, 320))
        true = gpu.dynamic(begin, time.monotonic())
    assert code == 0, err
    assert set(found) >= KEYS
    assert found["flags"] == []
    assert found["complete"] is True
    assert found["exit_code"] == 0
    assert found["device"] == {"index": 0, "name": device.name, "uuid": found["device"]["uuid"]}
    assert found["dynamic_joules"] == pytest.approx(true, rel=0.015)
    assert found["dynamic_joules"] == pytest.approx(220, rel=0.03)
    assert found["idle_watts"] == pytest.approx(60, abs=0.3)
    assert found["energy_joules"] == pytest.approx(found["dynamic_joules"] + 60 * found["seconds"], rel=0.02)
    low, high = found["interval_joules"]
    assert low < found["dynamic_joules"] < high
    assert high - low < 0.1 * found["dynamic_joules"]


def test_output_of_the_command_goes_where_it_is_promised(tmp_path: Path) -> None:
    with fake.load(tmp_path, clock="real") as gpu:
        noisy = [sys.executable, "-c", "import sys; print('to out'); print('to err', file=sys.stderr); sys.exit(7)"]
        found, code, err = measure(gpu, "--idle-seconds", 0.5, "--", *noisy)
        assert (code, found["exit_code"]) == (7, 7)
        assert "to out" in err
        assert "to err" in err
        process = start(gpu, "--idle-seconds", 0.5, "--", *noisy)
        out, err = process.communicate(timeout=60)
        assert out == "to out\n"
        assert "above idle" in err
        assert process.returncode == 7


def test_a_command_that_dies_by_a_signal(tmp_path: Path) -> None:
    with fake.load(tmp_path, clock="real") as gpu:
        found, code, _ = measure(gpu, "--idle-seconds", 0.5, "--", "sh", "-c", "kill -9 $$")
        assert (code, found["exit_code"]) == (137, 137)


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def until_it_draws(gpu: fake.Fake) -> None:
    deadline = time.monotonic() + 20
    while gpu.watts(time.monotonic()) < 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_in_the_window_it_ends_everything_and_says_what_it_has(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with fake.load(tmp_path, clock="real") as gpu:
        command = f"sleep 600 & {' '.join(draws(60, 300))}"
        process = start(gpu, "--json", "--idle-seconds", 0.5, "--", "sh", "-c", command)
        until_it_draws(gpu)
        family = descendants(process)
        assert len(family) >= 3
        time.sleep(1)
        process.send_signal(number)
        out, _err = process.communicate(timeout=20)
        assert process.returncode == code
        found = json.loads(out)
        assert found["complete"] is False
        assert found["dynamic_joules"] > 200
        assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_stopped_before_the_window_the_command_never_runs(tmp_path: Path) -> None:
    with fake.load(tmp_path, clock="real") as gpu:
        process = start(gpu, "--idle-seconds", 30, "--", "touch", str(tmp_path / "ran"))
        while not descendants(process):
            time.sleep(0.05)
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=10)
        assert process.returncode == 130
        assert len(err.splitlines()) == 1
        assert not (tmp_path / "ran").exists()


def test_killed_outright_it_takes_the_command_along_and_frees_the_device(tmp_path: Path) -> None:
    with fake.load(tmp_path, clock="real") as gpu:
        process = start(gpu, "--idle-seconds", 0.5, "--", *draws(60, 300))
        until_it_draws(gpu)
        (child,) = descendants(process)
        second, code, err = measure(gpu, "--idle-seconds", 0.5, "--", "true")
        assert (second, code) == ({}, 1)
        assert f"process {process.pid} measures on it" in err
        process.kill()
        process.communicate()
        child.wait(timeout=5)
        _, code, err = measure(gpu, "--idle-seconds", 0.5, "--", *draws(0.2, 100))
        assert code == 0, err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--", "no-such-command-anywhere"], "CMD: no-such-command-anywhere: a command that is on PATH"),
        (["--", "/etc/passwd"], "can be executed"),
        (["--device", "4", "--", "true"], "device: 4: one of the devices here"),
        (["--device", "-1", "--", "true"], "device: -1"),
        (["--idle-seconds", "0", "--", "true"], "--idle-seconds: 0.0"),
        (["--idle-seconds", "inf", "--", "true"], "--idle-seconds: inf"),
        (["--meter", "wattmeter", "--", "true"], "wattmeter"),
        ([], "Missing argument"),
    ],
)
def test_a_wrong_request_is_one_line_and_exit_2(tmp_path: Path, arguments: list[str], words: str) -> None:
    with fake.load(tmp_path, clock="real") as gpu:
        process = start(gpu, "--json", *arguments)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert words in err


@pytest.mark.parametrize("code", [Code.DRIVER_NOT_LOADED, Code.NO_PERMISSION, Code.UNKNOWN])
def test_an_nvml_that_refuses_is_one_line_and_exit_1(tmp_path: Path, code: int) -> None:
    with fake.load(tmp_path, errors={"nvmlInit": code}, clock="real") as gpu:
        document, status, err = measure(gpu, "--", "true")
    assert (document, status) == ({}, 1)
    assert len(err.splitlines()) == 1
    assert "NVML cannot be used" in err


def test_without_nvml_nothing_runs(tmp_path: Path) -> None:
    environment = {**os.environ, "LD_LIBRARY_PATH": ""}
    command = [FARM, "meter", "--", "touch", str(tmp_path / "ran")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode == 0:
        pytest.skip("this host has a GPU")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "ran").exists()


def test_the_device_is_the_one_that_is_visible(tmp_path: Path) -> None:
    second = Device(name="NVIDIA RTX A4000", idle=15)
    with fake.load(tmp_path, Device(), second, clock="real") as gpu:
        found, _, _ = measure(gpu, "--idle-seconds", 0.5, "--device", 1, "--", "sleep", "0.3")
        assert found["device"]["name"] == second.name
        assert found["idle_watts"] == pytest.approx(15, abs=0.5)
        found, _, _ = measure(gpu, "--idle-seconds", 0.3, "--", "sleep", "0.3", CUDA_VISIBLE_DEVICES="1")
        assert found["device"]["index"] == 0
        assert found["device"]["name"] == second.name


def test_a_lost_device_leaves_a_part_and_exit_1(tmp_path: Path) -> None:
    with fake.load(tmp_path, clock="real") as gpu:
        process = start(gpu, "--json", "--idle-seconds", 0.5, "--", *draws(2, 300))
        until_it_draws(gpu)
        gpu.fault(Fault.LOST, start=gpu.now() + 1)
        out, err = process.communicate(timeout=30)
    found = json.loads(out)
    assert process.returncode == 1
    assert len(err.splitlines()) == 1
    assert found["complete"] is False
    assert "gpu_lost" in found["flags"]
    assert found["exit_code"] == 0
    assert found["dynamic_joules"] is None or 0 < found["dynamic_joules"] < 600


def test_a_counter_that_is_not_there_is_said_and_the_power_log_stands_in(tmp_path: Path) -> None:
    with fake.load(tmp_path, clock="real") as gpu:
        gpu.fault(Fault.NO_COUNTER)
        found, code, err = measure(gpu, "--idle-seconds", 1, "--", *draws(2, 240))
    assert code == 0, err
    assert "counter_unsupported" in found["flags"]
    assert found["dynamic_joules"] == pytest.approx(480, rel=0.1)


def test_neither_counter_nor_power_is_no_zero(tmp_path: Path) -> None:
    errors = {"nvmlDeviceGetFieldValues": Code.NOT_SUPPORTED, "nvmlDeviceGetPowerUsage": Code.NOT_SUPPORTED}
    with fake.load(tmp_path, errors=errors, clock="real") as gpu:
        gpu.fault(Fault.NO_COUNTER)
        found, code, err = measure(gpu, "--idle-seconds", 0.5, "--", "true")
    assert code == 1
    assert "not known" in err
    assert found["energy_joules"] is None
    assert found["dynamic_joules"] is None
    assert found["interval_joules"] is None
