"""`farm meter` beside boards that the command counts in another order than NVML, over a fake NVML with two boards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

import pytest

from tests.conftest import FARM
from tests.fake_nvml import fake
from tests.fake_nvml.board import Code, Device
from workers.device.host import in_pid_namespace

A4000 = Device(name="NVIDIA RTX A4000", idle=15)
NOBODY = str(2**22 + 7)  # an id that no process bears here, as one of outside a container
RUNS: Mapping[str, Sequence[str]] = {  # what `farm meter` is asked for
    "on the other": ["--", "--on", "1"],
    "on the other, by its number": ["--device", "1", "--", "--on", "1"],
    "on both": ["--", "--on", "0,1"],
    "on the measured": ["--", "--on", "0"],
    "unidentified on the other": ["--", "--on", "1", "--as", NOBODY],
    "unidentified on the measured": ["--", "--on", "0", "--as", NOBODY],
    "somebody else": ["--", "--on", "0", "--as", str(os.getpid())],
    "nobody listed": ["--", "--on", "1"],
    "codecarbon": ["--meter", "codecarbon", "--", "--on", "1"],
    "hidden": ["--", "--on", "1"],
}
ENVIRONMENT = {"hidden": {"CUDA_VISIBLE_DEVICES": "0"}}
ERRORS = {"nobody listed": {"nvmlDeviceGetComputeRunningProcesses": Code.NOT_SUPPORTED}}

Found = Callable[[str], tuple[dict, str]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """The document of a run and what it said on stderr. They play beside each other, as they mostly wait."""
    folder = tmp_path_factory.mktemp("boards")
    running = {}
    for name, arguments in RUNS.items():
        with fake.load(folder / name, Device(), A4000, errors=ERRORS.get(name), clock="real") as gpu:
            split = arguments.index("--") + 1
            draws = [sys.executable, "-m", "tests.fake_nvml.fake", *arguments[split:], "2", "240"]
            line = [FARM, "meter", "--json", "--idle-seconds", "1", *arguments[:split], *draws]
            environment = gpu.environment(FARM_HOME=str(folder), **ENVIRONMENT.get(name, {}))
            running[name] = subprocess.Popen(
                line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
    said = {name: process.communicate(timeout=120) for name, process in running.items()}
    for name, process in running.items():
        assert process.returncode == 0, (name, said[name])
    return lambda name: (json.loads(said[name][0]), said[name][1])


@pytest.mark.parametrize("name", ["on the other", "codecarbon"])
def test_a_command_on_another_board_is_no_plain_zero(found: Found, name: str) -> None:
    document, said = found(name)
    assert abs(document["dynamic_joules"]) < 20  # the other board drew 480
    assert "wrong_device" in document["flags"]
    assert [board["index"] for board in document["devices_used"]] == [1]
    assert "computed on device 1 (NVIDIA RTX A4000), not on device 0 (NVIDIA A100-SXM4-80GB)" in said
    assert "use --device 1" in said


def test_with_the_right_number_all_is_well(found: Found) -> None:
    for name, index in (("on the other, by its number", 1), ("on the measured", 0)):
        document, said = found(name)
        assert "wrong_device" not in document["flags"]
        assert document["dynamic_joules"] > 400
        assert document["devices_used"] == [document["device"]]
        assert document["device"]["index"] == index
        assert document["unknown_processes"] == []
        assert "farm:" not in said


def test_a_second_board_is_said_and_does_not_spoil_the_first(found: Found) -> None:
    document, said = found("on both")
    assert "wrong_device" not in document["flags"]
    assert document["dynamic_joules"] > 400
    assert [board["index"] for board in document["devices_used"]] == [0, 1]
    assert "computed on device 1 (NVIDIA RTX A4000) too, whose energy is not in this" in said


def test_a_hidden_board_is_called_by_its_uuid(found: Found) -> None:
    document, said = found("hidden")
    assert "wrong_device" in document["flags"]
    assert document["devices_used"][0]["index"] is None
    assert f"computed on device {document['devices_used'][0]['uuid']}" in said


def test_who_cannot_be_identified_is_said_and_spoils_nothing(found: Found) -> None:
    for name, unknown in (("unidentified on the measured", [int(NOBODY)]), ("unidentified on the other", [])):
        document, said = found(name)
        assert not {"foreign_process", "wrong_device"} & set(document["flags"])
        assert (document["unknown_processes"], document["devices_used"]) == (unknown, None)
        assert ("cannot be identified from here came to device 1" in said) == (name == "unidentified on the other")


@pytest.mark.skipif(in_pid_namespace(), reason="in a container an id of NVML's may mean another process here")
def test_who_is_known_to_be_foreign_spoils(found: Found) -> None:
    document, _ = found("somebody else")
    assert "foreign_process" in document["flags"]
    assert document["unknown_processes"] == []


def test_where_no_processes_are_listed_nothing_is_claimed(found: Found) -> None:
    document, said = found("nobody listed")
    assert "wrong_device" not in document["flags"]
    assert document["devices_used"] is None
    assert document["unknown_processes"] is None
    assert "farm:" not in said
