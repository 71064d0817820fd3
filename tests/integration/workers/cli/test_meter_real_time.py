"""`farm meter` as its users run it: the installed command, a real nvidia-ml-py, real time, a fake device."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.conftest import FARM
from tests.fake_nvml import fake
from tests.fake_nvml.board import Code, Device, Fault, Noise
from tests.processes import is_gone
from workers.device.lock import TOKENS

KEYS = {
    "meter", "device", "exit_code", "seconds", "energy_joules", "idle_watts", "idle_watts_std", "dynamic_joules",
    "dynamic_joules_std", "interval_joules", "power_joules", "flags", "complete",
}  # fmt: skip
REFUSALS = [Code.DRIVER_NOT_LOADED, Code.NO_PERMISSION, Code.UNKNOWN]
WRONG = [
    (["--", "no-such-command-anywhere"], "CMD: no-such-command-anywhere: a command that is on PATH"),
    (["--", "/etc/passwd"], "can be executed"),
    (["--device", "4", "--", "true"], "device: 4: one of the devices here"),
    (["--device", "-1", "--", "true"], "device: -1"),
    (["--idle-seconds", "0", "--", "true"], "--idle-seconds: 0.0"),
    (["--idle-seconds", "inf", "--", "true"], "--idle-seconds: inf"),
    (["--meter", "wattmeter", "--", "true"], "wattmeter"),
    ([], "Missing argument"),
]


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


NOISY = [sys.executable, "-c", "import sys; print('to out'); print('to err', file=sys.stderr); sys.exit(7)"]
A4000 = Device(name="NVIDIA RTX A4000", idle=15)
UNREADABLE = {"nvmlDeviceGetFieldValues": Code.NOT_SUPPORTED, "nvmlDeviceGetPowerUsage": Code.NOT_SUPPORTED}


@dataclass(frozen=True)
class Scene:
    """One run of `farm meter`. They play beside each other, as they mostly wait."""

    arguments: Sequence[object]
    devices: Sequence[Device] = (Device(),)
    errors: Mapping[str, int] = field(default_factory=dict)
    faults: Sequence[Fault] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def ticking(tick: float) -> Scene:
    device = Device(
        name="NVIDIA RTX A6000",
        counter_period=tick,
        counter_phase=tick / 3,
        counter_latency=0.005,
        noise=Noise(white=1.0),
    )
    work = draws(0.3, 200, 0.4, 0, 0.5, 320)
    return Scene(["--json", "--idle-seconds", 2, "--", *work], [device])


SCENES = {
    "tick 20 ms": ticking(0.02),
    "tick 100 ms": ticking(0.1),
    "noisy json": Scene(["--json", "--idle-seconds", 1, "--", *NOISY]),
    "noisy text": Scene(["--idle-seconds", 1, "--", *NOISY]),
    "signal": Scene(["--json", "--idle-seconds", 1, "--", "sh", "-c", "kill -9 $$"]),
    "second": Scene(["--json", "--idle-seconds", 1, "--device", 1, "--", "sleep", "0.3"], [Device(), A4000]),
    "visible": Scene(
        ["--json", "--idle-seconds", 1, "--", "sleep", "0.3"],
        [Device(), A4000],
        environment={"CUDA_VISIBLE_DEVICES": "1"},
    ),
    "no counter": Scene(["--json", "--idle-seconds", 1, "--", *draws(2, 240)], faults=[Fault.NO_COUNTER]),
    "unreadable": Scene(["--json", "--idle-seconds", 1, "--", "true"], errors=UNREADABLE, faults=[Fault.NO_COUNTER]),
}
REQUESTS = {
    **{f"refused {code.name}": Scene(["--", "true"], errors={"nvmlInit": code}) for code in REFUSALS},
    **{f"wrong {words}": Scene(["--json", *arguments]) for arguments, words in WRONG},
}


@dataclass(frozen=True)
class Played:
    """How a scene ended, and what the device truly spent above idle."""

    code: int
    out: str
    err: str
    dynamic_joules: float

    @property
    def document(self) -> dict:
        return json.loads(self.out)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Played]:
    folder = tmp_path_factory.mktemp("scenes")
    # What starts at once disturbs each other's clocks: nothing matters for refusals, the others come one by one.
    return play(REQUESTS, folder / "requests", 0.0) | play(SCENES, folder / "scenes", 0.7)


def play(scenes: Mapping[str, Scene], folder: Path, apart_seconds: float) -> dict[str, Played]:
    begin = time.monotonic()
    running = {}
    for name, scene in scenes.items():
        with fake.load(folder / name.split(":")[0], *scene.devices, errors=scene.errors, clock="real") as gpu:
            for fault in scene.faults:
                gpu.fault(fault)
            running[name] = gpu.config, start(gpu, *scene.arguments, FARM_HOME=str(folder), **scene.environment)
            time.sleep(apart_seconds)
    ended = {}
    for name, (config, process) in running.items():
        out, err = process.communicate(timeout=60)
        with fake.Fake(config) as gpu:
            ended[name] = Played(process.returncode, out, err, gpu.dynamic(begin, time.monotonic()))
    return ended


@pytest.mark.alone
@pytest.mark.parametrize("name", ["tick 20 ms", "tick 100 ms"])
def test_a_command_costs_what_it_drew(played: dict[str, Played], name: str) -> None:
    run = played[name]
    assert run.code == 0, run.err
    found = run.document
    assert set(found) >= KEYS
    assert found["flags"] == []
    assert found["complete"] is True
    assert found["exit_code"] == 0
    assert found["device"]["index"] == 0
    assert found["device"]["name"] == "NVIDIA RTX A6000"
    assert found["dynamic_joules"] == pytest.approx(run.dynamic_joules, rel=0.02)
    assert found["dynamic_joules"] > 215  # 220, and more where a busy host makes the command late
    assert found["idle_watts"] == pytest.approx(60, abs=1)
    assert found["energy_joules"] == pytest.approx(found["dynamic_joules"] + 60 * found["seconds"], rel=0.02)
    low, high = found["interval_joules"]
    assert low < found["dynamic_joules"] < high
    assert high - low < 0.2 * found["dynamic_joules"]


@pytest.mark.alone
def test_output_of_the_command_goes_where_it_is_promised(played: dict[str, Played]) -> None:
    run = played["noisy json"]
    assert (run.code, run.document["exit_code"]) == (7, 7)
    assert "to out" in run.err
    assert "to err" in run.err
    run = played["noisy text"]
    assert (run.code, run.out) == (7, "to out\n")
    assert "above idle" in run.err


@pytest.mark.alone
def test_a_command_that_dies_by_a_signal(played: dict[str, Played]) -> None:
    run = played["signal"]
    assert (run.code, run.document["exit_code"]) == (137, 137)


@pytest.mark.alone
@pytest.mark.parametrize("words", [words for _, words in WRONG])
def test_a_wrong_request_is_one_line_and_exit_2(played: dict[str, Played], words: str) -> None:
    run = played[f"wrong {words}"]
    assert (run.code, run.out) == (2, "")
    assert len(run.err.splitlines()) == 1
    assert words in run.err


@pytest.mark.alone
@pytest.mark.parametrize("code", REFUSALS)
def test_an_nvml_that_refuses_is_one_line_and_exit_1(played: dict[str, Played], code: Code) -> None:
    run = played[f"refused {code.name}"]
    assert (run.code, run.out) == (1, "")
    assert len(run.err.splitlines()) == 1
    assert "NVML cannot be used" in run.err


@pytest.mark.alone
def test_the_device_is_the_one_that_is_visible(played: dict[str, Played]) -> None:
    for name, index in (("second", 1), ("visible", 0)):
        found = played[name].document
        assert found["device"]["index"] == index
        assert found["device"]["name"] == A4000.name
        assert found["idle_watts"] == pytest.approx(15, abs=1)


@pytest.mark.alone
def test_a_counter_that_is_not_there_is_said_and_the_power_log_stands_in(played: dict[str, Played]) -> None:
    run = played["no counter"]
    assert run.code == 0, run.err
    assert "counter_unsupported" in run.document["flags"]
    assert run.document["dynamic_joules"] == pytest.approx(480, rel=0.1)


@pytest.mark.alone
def test_neither_counter_nor_power_is_no_zero(played: dict[str, Played]) -> None:
    run = played["unreadable"]
    assert run.code == 1
    assert "not known" in run.err
    for key in ("energy_joules", "dynamic_joules", "interval_joules", "idle_watts"):
        assert run.document[key] is None


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
        assert all(is_gone(relative.pid) for relative in family)


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
        family = descendants(process)  # the subreaper and the command
        second, code, err = measure(gpu, "--idle-seconds", 0.5, "--", "true")
        assert (second, code) == ({}, 1)
        assert f"process {process.pid} measures on it" in err
        process.kill()
        process.communicate()
        assert not psutil.wait_procs(family, timeout=5)[1]
        _, code, err = measure(gpu, "--idle-seconds", 0.5, "--", *draws(0.2, 100))
        assert code == 0, err


def test_a_command_may_itself_measure_on_the_device_that_is_measured(tmp_path: Path) -> None:
    inner = [FARM, "meter", "--idle-seconds", "0.5", "--", *draws(0.5, 200)]
    with fake.load(tmp_path, clock="real") as gpu:
        through_python = [sys.executable, "-c", f"import subprocess, sys; sys.exit(subprocess.call({inner!r}))"]
        document, code, err = measure(gpu, "--idle-seconds", 0.5, "--", *through_python)
        assert code == 0, err
        assert document["dynamic_joules"] == pytest.approx(100, rel=0.3)
        _, code, err = measure(gpu, "--idle-seconds", 0.5, "--", "env", "-u", TOKENS, *inner)
        assert code == 1
        assert "is taken" in err  # being a descendant gives no right


def test_without_nvml_nothing_runs(tmp_path: Path) -> None:
    environment = {**os.environ, "LD_LIBRARY_PATH": ""}
    command = [FARM, "meter", "--", "touch", str(tmp_path / "ran")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode == 0:
        pytest.skip("this host has a GPU")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "ran").exists()


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
