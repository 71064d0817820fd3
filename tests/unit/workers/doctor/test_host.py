"""What the doctor says of torch, and of devices that are not there or not shown."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from farm.domain import DeviceLost, MeterError, RequestError
from workers.device.board import AnyDevice, DeviceFacts, SilentDevice
from workers.doctor import host
from workers.meters.base import Probe, Recording


@pytest.mark.parametrize(
    ("printed", "expects_gpu", "level", "words"),
    [
        ("2.13.0 None 0", False, "ok", "2.13.0"),
        ("2.13.0 13.0 2", True, "ok", "2.13.0, CUDA 13.0"),
        ("2.13.0 None 0", True, "failure", "2.13.0, built without CUDA, sees no GPU"),
        ("2.13.0 13.0 0", True, "failure", "2.13.0, built for CUDA 13.0, sees no GPU"),
        ("", True, "failure", "cannot be imported"),
    ],
)
def test_torch_is_held_against_the_devices_that_there_are(
    printed: str, expects_gpu: bool, level: str, words: str
) -> None:
    with subprocess.Popen(["echo", printed], stdout=subprocess.PIPE, text=True) as child:
        finding = host._torch(child, expects_gpu=expects_gpu)
    assert (finding.check, finding.level) == ("torch", level)
    assert words in finding.found
    assert bool(finding.remedy) is (level != "ok")


def test_devices_that_are_not_shown_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-aaaa")
    (mig,) = host._visible(())
    assert (mig.level, mig.remedy) == ("failure", host.host.NO_MIG)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    (none,) = host._visible(())
    assert (none.level, none.found) == ("warning", "none is visible")


def test_a_deep_look_without_a_driver_is_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "")
    (finding,) = host.deep()
    assert isinstance(finding, host.Finding)
    assert finding.level == "warning"
    assert finding.found.startswith("no GPU to check: ")


UUID = "GPU-7e57fa4e-fa4e-4fa4-8fa4-0000fa4ed0c7"
A100 = DeviceFacts(
    index=3, name="NVIDIA A100-SXM4-80GB", uuid=UUID, pci_bus_id="0000:07:00.0", architecture="Ampere",
    memory_bytes=80 * 2**30, memory_used_bytes=2**20, power_limit_watts=400.0, mig=False, persistence=True,
    processes=(),
)  # fmt: skip


def findings(facts: AnyDevice, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """Level, words and remedy of each, where the sensors have nothing to say."""
    monkeypatch.setattr(host, "_sensors", lambda label, facts: iter(()))
    return [(each.level, each.found, each.remedy) for each in host._device(0, facts)]


def test_what_keeps_a_board_from_being_measured_is_said_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = SilentDevice(index=3, uuid=None, error="GPU is lost", remedy="reboot")
    assert findings(silent, monkeypatch) == [("failure", "does not answer: NVML says GPU is lost", "reboot")]
    board, *rest = findings(A100, monkeypatch)
    assert board[:2] == ("ok", f"{A100.name} {UUID} 0000:07:00.0: a100")
    assert [level for level, *_ in rest] == ["ok"]
    unknown, *_ = findings(replace(A100, name="NVIDIA Z1"), monkeypatch)
    assert unknown[0] == "warning"
    assert "catalog/gpus" in unknown[2]
    _, mig = findings(replace(A100, mig=True), monkeypatch)
    assert (mig[0], mig[2]) == ("failure", "nvidia-smi -i 3 -mig 0")
    _, unloads, _ = findings(replace(A100, persistence=False), monkeypatch)
    assert (unloads[0], unloads[2]) == ("warning", "nvidia-smi -i 3 -pm 1")
    _, used = findings(replace(A100, processes=(1,)), monkeypatch)
    assert used[:2] == ("warning", "in use: process 1")


def test_a_board_that_is_held_or_goes_away_meanwhile_ends_in_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    for error, level in (
        (DeviceLost("fell off the bus"), "failure"),
        (MeterError("no power"), "warning"),
        (RequestError("lock", "/x", "a folder of your own"), "failure"),
    ):

        def fails(label: str, facts: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(host, "_sensors", fails)
        *_, last = host._device(0, A100)
        assert last.level == level
        assert last.remedy


@pytest.mark.parametrize(
    ("probe", "counter", "level", "words"),
    [
        (Probe(), [], "warning", "no energy counter"),
        (Probe(has_counter=True, poll_sensitive=True, poll_loss=0.2), [], "warning", "loses 20 % when read often"),
        (Probe(has_counter=True, tick=0.1), [60.0] * 3, "failure", "does not move"),
        (Probe(has_counter=True, tick=0.1), [0.0, 60.0, 120.0], "warning", "disagree at idle: 60.0 W by the counter"),
        (Probe(has_counter=True, tick=0.1), [0.0, 100.0, 200.0], "ok", "a tick of 100 ms"),
        (Probe(has_counter=True), [0.0, 100.0], "ok", "no tick to be seen"),
    ],
)
def test_a_counter_is_held_against_the_power_log(probe: Probe, counter: list[float], level: str, words: str) -> None:
    recording = Recording(
        counter=tuple((float(at), float(at), joules) for at, joules in enumerate(counter)),
        power=tuple((float(at), 100.0) for at in range(3)),
        probe=probe,
    )
    finding = host._counter("device 0", recording, 0.1)
    assert finding.level == level
    assert words in finding.found
