"""Finding, verifying and locking a device, over the fake NVML, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from farm import imports
from farm.domain import OperationError, RequestError
from tests.fake_nvml import fake
from tests.fake_nvml.board import Code, Device, Fault
from workers.device import host

A100 = Device()
A4000 = Device(name="NVIDIA RTX A4000", uuid="GPU-a4000000-0000-4000-8000-000000000001")
RTX6000ADA = Device(name="NVIDIA RTX 6000 Ada Generation", architecture="Ada")


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put devices on stage for the children that ``workers.device.host`` starts."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    opened = []

    def put(*devices: Device, **settings) -> fake.Fake:
        gpu = fake.load(tmp_path, *devices, **settings)
        opened.append(gpu)
        for name in ("LD_LIBRARY_PATH", "FAKE_NVML_CONFIG"):
            monkeypatch.setenv(name, gpu.environment()[name])
        return gpu

    yield put
    for gpu in opened:
        gpu.__exit__(None, None, None)


def test_a_device_of_the_right_type_is_verified(stage) -> None:
    stage(A100, A4000)
    found = host.verify("a4000", 1)
    assert (found.number, found.name, found.uuid) == (1, A4000.name, A4000.uuid)
    assert found.device.architecture == "Ampere"
    assert found.pinned()["CUDA_VISIBLE_DEVICES"] == A4000.uuid
    assert host.environment(found)["pci_bus_id"] == "00000000:02:00.0"


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("raise ImportError('libfoo.so is broken')", "ImportError: libfoo.so is broken"),
        ("import os; os.abort()", "exit status -6"),
        ("print('{')", "Expecting property name"),
        ("print('{}')", "2 validation errors"),
    ],
)
def test_a_child_that_says_nothing_of_use_is_one_line_with_its_cause(monkeypatch, program: str, problem: str) -> None:
    monkeypatch.setattr(imports, "python", lambda *_: [sys.executable, "-c", program])
    with pytest.raises(OperationError, match=f"NVML could not be asked: {problem}.*workers.device.facts") as caught:
        host.inspect()
    assert "\n" not in str(caught.value)


def test_a_device_of_another_type_is_refused_by_its_name(stage) -> None:
    stage(A4000)
    with pytest.raises(RequestError, match=r"a100.*NVIDIA RTX A4000.*which is a4000"):
        host.verify("a100", 0)
    stage(Device(name="NVIDIA Unheard 1"))
    with pytest.raises(RequestError, match="not in the catalog"):
        host.verify("a100", 0)


def test_the_two_a6000_are_told_apart(stage) -> None:
    stage(RTX6000ADA, Device(name="NVIDIA RTX A6000"))
    assert host.verify("rtx6000-ada", 0).name == RTX6000ADA.name
    assert "rtx6000-ada" not in host.identify(1).device.types


@pytest.mark.parametrize(
    ("restriction", "device", "expected"),
    [
        (None, "1", 1),
        ("1", "0", 1),
        ("2,0", "1", 0),
        ("GPU-a4000", "0", 1),
        (None, "gpu-A4000000-0000", 1),
        ("2,-1,0", "0", 2),
    ],
)
def test_numbers_count_the_visible_devices(stage, monkeypatch, restriction, device, expected) -> None:
    stage(A100, A4000, RTX6000ADA)
    if restriction is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", restriction)
    assert host.identify(device).device.index == expected


@pytest.mark.parametrize(
    ("restriction", "device"),
    [
        (None, "3"),
        ("0", "1"),
        ("", "0"),
        ("NoDevFiles", "0"),
        ("2,-1,0", "1"),
        (None, "GPU-"),
        (None, "MIG-1"),
        (None, "x"),
    ],
)
def test_a_device_that_is_not_there_is_refused_in_one_line(stage, monkeypatch, restriction, device) -> None:
    stage(A100, A4000, RTX6000ADA)
    if restriction is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", restriction)
    with pytest.raises(RequestError) as refusal:
        host.identify(device)
    assert str(refusal.value).startswith(f"device: {device}: ")


def test_devices_hidden_by_the_system_shift_the_numbers(stage) -> None:
    stage(Device(hidden=True), A4000)
    assert host.verify("a4000", 0).uuid == A4000.uuid
    with pytest.raises(RequestError):
        host.identify(1)


def test_mig_is_refused(stage) -> None:
    stage(A100).fault(Fault.MIG)
    with pytest.raises(OperationError, match="MIG"):
        host.verify("a100", 0)


def test_foreign_processes_are_refused_waited_for_or_allowed(stage, monkeypatch) -> None:
    gpu = stage(A100, clock="real")
    monkeypatch.setattr(host, "WAIT_SECONDS", 0.1)
    gpu.fault(Fault.PROCESS, value=4242)
    with pytest.raises(OperationError, match="process 4242"):
        host.verify("a100", 0)
    assert host.verify("a100", 0, foreign="allow").number == 0
    gpu.clear_faults()
    started = time.monotonic()
    gpu.fault(Fault.PROCESS, end=started + 0.5, value=4242)
    host.verify("a100", 0, foreign="wait")
    assert time.monotonic() - started > 0.5


def test_in_a_container_held_memory_gives_the_unseen_away(stage, monkeypatch) -> None:
    stage(Device(memory_used=20 * 2**30))
    monkeypatch.setattr(host, "in_pid_namespace", lambda: True)
    with pytest.raises(OperationError, match=r"20\.0 GiB .* not visible from this container"):
        host.verify("a100", 0)
    stage(Device(memory_used=0.6 * 2**30))
    assert any("container" in note for note in host.verify("a100", 0).notes)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (Code.DRIVER_NOT_LOADED, "not loaded"),
        (Code.NO_PERMISSION, "may not open /dev/nvidia"),
        (Code.VERSION_MISMATCH, "reboot"),
        (Code.UNKNOWN, "nvidia-smi"),
    ],
)
def test_an_nvml_that_refuses_is_explained(stage, code, words) -> None:
    stage(A100, errors={"nvmlInit": code})
    with pytest.raises(OperationError, match=words):
        host.inspect()


def test_a_lost_device_keeps_its_number_and_the_others_keep_theirs(stage) -> None:
    stage(A100, A4000, RTX6000ADA).fault(Fault.LOST, device=0)
    assert host.identify(1).device.index == 1
    assert host.verify("a4000", 1).name == A4000.name
    assert host.identify(A4000.uuid).number == 1
    for device in (0, "GPU-00000000-borne-by-none-that-answers"):
        with pytest.raises(OperationError, match=r"number 0\) does not answer: NVML says GPU is lost: .*reset"):
            host.identify(device)
    with pytest.raises(RequestError, match="0 does not answer; 1 is NVIDIA RTX A4000"):
        host.identify(3)


@pytest.mark.parametrize(("restriction", "number"), [("1", 0), ("2,1", 1), ("0,1", 1)])
def test_a_lost_device_does_not_shift_what_cuda_visible_devices_says(stage, monkeypatch, restriction, number) -> None:
    stage(A100, A4000, RTX6000ADA).fault(Fault.LOST, device=0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", restriction)
    assert host.identify(number).name == A4000.name


@pytest.mark.parametrize("function", ["nvmlDeviceGetHandleByIndex", "nvmlDeviceGetName", "nvmlDeviceGetCount"])
def test_an_error_that_passes_is_asked_again(stage, function) -> None:
    stage(A100, errors={function: (Code.UNKNOWN, 2), "nvmlDeviceGetUUID": (Code.UNKNOWN, 1)})
    found = host.verify("a100", 0)
    assert found.name == A100.name
    assert found.uuid.startswith("GPU-")


@pytest.mark.parametrize("function", ["nvmlDeviceGetHandleByIndex", "nvmlDeviceGetName"])
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (Code.NO_PERMISSION, "Insufficient Permissions: this user may not open"),
        (Code.GPU_IS_LOST, "GPU is lost: it fell off the bus"),
        (Code.UNKNOWN, "Unknown Error: try nvidia-smi -i 0"),
    ],
)
def test_a_device_that_refuses_is_one_line_with_its_cause(stage, farm_process, function, code, words) -> None:
    done = farm_process("meter", "--json", "--", "true", **stage(A100, errors={function: code}).environment())
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    assert words in done.err


def test_no_other_board_is_measured_in_place_of_a_lost_one(stage, farm_process) -> None:
    gpu = stage(A100, A4000, clock="real")
    gpu.fault(Fault.LOST, device=0)
    done = farm_process("meter", "--json", "--", "true", **gpu.environment())
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    assert "device 0 (NVML's number 0) does not answer: NVML says GPU is lost" in done.err
    arguments = ("meter", "--json", "--idle-seconds", "0.3", "--device", "1", "--", "sleep", "0.2")
    done = farm_process(*arguments, **gpu.environment())
    assert done.code == 0, done.err
    assert json.loads(done.out)["device"]["name"] == A4000.name


def test_a_mig_instance_is_named_as_what_it_is(stage, farm_process) -> None:
    gpu = stage(A100)
    done = farm_process("meter", "--", "true", **gpu.environment(CUDA_VISIBLE_DEVICES="MIG-4d5c-11"))
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert "CUDA_VISIBLE_DEVICES: MIG-4d5c-11: a whole GPU" in done.err


def test_looking_leaves_nothing_loaded_in_the_caller(stage) -> None:
    gpu = stage(A100)
    code = "import sys; from workers.device import host; host.verify('a100', 0);"
    code += " print({'pynvml', 'torch'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=gpu.environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["set()"]


@pytest.mark.parametrize("broker", [{"FARM_BROKER_URL": "redis://127.0.0.1:9/0"}, {}])  # the device comes first
def test_a_worker_for_another_board_refuses_to_start(stage, farm_process, broker) -> None:
    gpu = stage(A4000)
    environment = gpu.environment(**broker)
    done = farm_process("worker", "--gpu", "a100", "--device", 0, **environment)
    assert (done.code, done.out) == (2, "")
    assert done.err == "farm: gpu: a100: device 0 is a NVIDIA RTX A4000, by NVML, which is a4000\n"


def test_facts_are_one_json_document(stage) -> None:
    gpu = stage(A100)
    done = subprocess.run(
        [sys.executable, "-m", "workers.device.facts"],
        env=gpu.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    facts = json.loads(done.stdout)
    assert facts["driver"] == "580.65.06"
    assert facts["devices"][0]["power_limit_watts"] == 400
