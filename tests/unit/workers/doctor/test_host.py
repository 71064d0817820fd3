"""What the doctor says of torch, and of devices that are not there or not shown."""

from __future__ import annotations

import subprocess

import pytest

from workers.doctor import host


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
