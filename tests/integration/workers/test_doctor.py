"""`farm doctor` on hosts with and without what it looks for."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import FARM
from tests.fake_nvml import fake
from tests.fake_nvml.board import Code, Device, Fault

LEVELS = {"ok", "warning", "failure"}


@pytest.fixture
def doctor(farm_process):
    """(exit code, {check: [(level, found, remedy), ...]}) of `farm doctor --json`."""

    def call(gpu: fake.Fake | None = None, **environment: str):
        done = farm_process("doctor", "--json", **(gpu.environment(**environment) if gpu else environment))
        document = json.loads(done.out)
        assert document["level"] in LEVELS
        found: dict[str, list[tuple[str, str, str | None]]] = {}
        for check in document["checks"]:
            assert check["level"] in LEVELS
            assert (check["remedy"] is None) == (check["level"] == "ok")
            found.setdefault(check["check"], []).append((check["level"], check["found"], check["remedy"]))
        return done.code, found

    return call


def levels(findings) -> list[str]:
    return [level for level, _, _ in findings]


def test_a_host_without_gpu_or_broker_is_warned_not_failed(doctor) -> None:
    code, found = doctor(LD_LIBRARY_PATH="")
    assert {"python", "home", "disk", "database", "broker", "spool", "torch", "nvml"} <= set(found)
    assert levels(found["broker"]) == ["warning"]
    assert levels(found["nvml"]) in (["warning"], ["ok"])
    if levels(found["nvml"]) == ["warning"]:
        assert code == 0


@pytest.mark.alone
def test_it_says_what_the_meter_finds_out_and_what_is_wrong(doctor, tmp_path: Path) -> None:
    devices = [
        Device(name="NVIDIA RTX A4000", idle=15, persistence=False),
        Device(),
        Device(name="NVIDIA Unheard 1"),
        Device(),
    ]
    with fake.load(tmp_path, *devices, clock="real") as gpu:
        gpu.fault(Fault.MIG, device=1)
        gpu.fault(Fault.NO_COUNTER, device=2)
        gpu.fault(Fault.PROCESS, device=2, value=4242)
        code, found = doctor(gpu, CUDA_VISIBLE_DEVICES="0,1,2")
    assert code == 1
    assert found["visible"] == [("ok", "CUDA_VISIBLE_DEVICES leaves 3 of them", None)]
    lines = " | ".join(text for _, text, _ in found["device 0"])
    for part in ("NVIDIA RTX A4000", "a4000", "power log: instant", "idle 15.", "persistence mode"):
        assert part in lines
    assert re.search(r"a tick of (9[89]|10[0-2]) ms", lines)
    mig = ("failure", "MIG is enabled: there is no energy of an instance", "nvidia-smi -i 1 -mig 0")
    assert mig in found["device 1"]
    warned = " | ".join(text for level, text, _ in found["device 2"] if level == "warning")
    for part in ("no GPU type of the catalog", "no energy counter", "process 4242"):
        assert part in warned
    assert "device 3" not in found


def test_a_device_that_is_measured_on_is_left_alone(doctor, tmp_path: Path) -> None:
    with fake.load(tmp_path, clock="real") as gpu:
        worker = subprocess.Popen(
            [FARM, "meter", "--idle-seconds", "60", "--", "true"], env=gpu.environment(), stderr=subprocess.DEVNULL
        )
        try:
            deadline = time.monotonic() + 20
            while not gpu.polls():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            _, found = doctor(gpu)
        finally:
            worker.kill()
            worker.wait()
    level, text, _ = found["device 0"][-1]
    assert level == "warning"
    assert f"process {worker.pid} measures on it" in text


def test_an_open_home_a_broker_that_is_away_and_a_refusing_nvml(doctor, tmp_path: Path, home: Path) -> None:
    home.mkdir(mode=0o755)
    home.chmod(0o755)
    with fake.load(tmp_path, errors={"nvmlInit": Code.NO_PERMISSION}, clock="real") as gpu:
        code, found = doctor(gpu, FARM_BROKER_URL="redis://:secret@127.0.0.1:9/0")
    assert code == 1
    assert levels(found["home"]) == ["warning"]
    assert levels(found["broker"]) == ["failure"]
    assert "secret" not in json.dumps(found)
    assert "may not open /dev/nvidia" in found["nvml"][0][1]


@pytest.mark.alone
def test_a_counter_that_is_not_to_be_trusted_and_a_device_that_is_gone(doctor, tmp_path: Path) -> None:
    devices = [Device(), Device(counter_scale=0.57), Device(), Device(name="NVIDIA RTX A4000", idle=15)]
    with fake.load(tmp_path, *devices, clock="real") as gpu:
        gpu.fault(Fault.LOST, device=0)
        gpu.fault(Fault.FREEZE, device=2)
        code, found = doctor(gpu)
    assert code == 1
    ((level, text, remedy),) = found["device 0"]
    assert (level, text) == ("failure", "does not answer: NVML says GPU is lost")
    assert "reset" in remedy
    ((text, remedy),) = [(text, remedy) for level, text, remedy in found["device 1"] if level == "warning"]
    assert re.search(r"3[345]\.\d W by the counter, 60\.0 W by the power log", text)
    assert "counter_power_disagree" in remedy
    ((text, _),) = [(text, remedy) for level, text, remedy in found["device 2"] if level == "failure"]
    assert "does not move: the power log stands in" in text
    assert set(levels(found["device 3"])) == {"ok"}  # and keeps its number


def test_a_device_that_goes_while_it_is_probed(doctor, tmp_path: Path) -> None:
    with fake.load(tmp_path, clock="real") as gpu:
        process = subprocess.Popen(
            [FARM, "doctor", "--json"], env=gpu.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while gpu.polls() < 3:
            assert process.poll() is None
            time.sleep(0.02)
        gpu.fault(Fault.LOST, start=time.monotonic() + 0.2)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")
    last = [check for check in json.loads(out)["checks"] if check["check"] == "device 0"][-1]
    assert last["level"] == "failure"
    assert "went away while it was probed" in last["found"]


def test_a_mig_instance_as_all_that_is_visible(doctor, tmp_path: Path) -> None:
    with fake.load(tmp_path) as gpu:
        code, found = doctor(gpu, CUDA_VISIBLE_DEVICES="MIG-4d5c-11")
    assert code == 1
    assert ("failure", "CUDA_VISIBLE_DEVICES is MIG-4d5c-11") in [entry[:2] for entry in found["visible"]]
