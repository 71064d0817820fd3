"""CodeCarbon alone and beside the NVML meter: its pitfalls each end in an error, and the two numbers agree.

A real CodeCarbon and a real nvidia-ml-py in real time, over a fake device: processes that mostly wait, beside each
other.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from farm.domain import RequestError
from farm.settings import Settings
from tests.conftest import FARM
from tests.fake_nvml import fake
from tests.fake_nvml.board import Device, Fault, Noise
from workers.device.identity import WorkerIdentity
from workers.meters import open_meter
from workers.meters.base import IDLE, Span
from workers.meters.energy.by_label import energy_from
from workers.meters.energy.cumulative import CumulativeEnergy
from workers.runtime.device_session import DeviceSession

A6000 = Device(name="NVIDIA RTX A6000", noise=Noise(white=1.0))
SECOND = replace(A6000, uuid="GPU-7e57fa4e-fa4e-4fa4-8fa4-0000fa4e0001")
BLIND = Device(name="NVIDIA RTX A6000", blind=0.02)  # its counter loses energy whenever it is read

# `farm measure` where no socket can be opened and a job that draws power stands in for a pipeline,
# as there is no CUDA. Its work is long beside the tenths of a second by which a busy host may read late.
JOB = """
import socket, sys, time

def refuse(*a, **k):
    raise AssertionError("the network was asked for")

socket.getaddrinfo = socket.socket.connect = refuse
from farm.cli import run
from tests.fake_nvml import fake
from workers import pipelines
from workers.procedure.options import Options
from workers.workload import BatchResult

gpu = fake.attach()

class Job:
    def run(self, prompts, seed, phase):
        for label, watts, seconds in (("text", 100, 0.1), ("denoise", 250, 3.0), ("decode", 150, 0.1)):
            with phase(label):
                gpu.draw(watts, device=1)
                time.sleep(seconds)
                gpu.draw(0, device=1)
        time.sleep(0.05)  # saves the image
        return BatchResult(images=len(prompts), forwards=1, forward_batch=1, finite=True)

    def synchronize(self):
        pass

    def environment(self):
        return {}

    def bind(self, configuration):
        return self

    def close(self):
        pass

pipelines.load = lambda configuration, device: Job()
Options.__init__.__kwdefaults__.update(max_passes=3)
sys.exit(run(sys.argv[1:]))
"""
MEASURE = ["measure", "--model", "sd2", "--resolution", "64", "--steps", "2", "--precision", "fp32", "--prompts", "2"]
# Commands that draw 300 W above idle for 2 s; after the first of them something happens to the device.
MISHAP = """
import time
from tests.fake_nvml import fake
from tests.fake_nvml.board import Fault
gpu = fake.attach()
gpu.draw(300)
time.sleep(1)
gpu.fault(Fault.{}, start=gpu.now())
time.sleep(1)
gpu.draw(0)
"""


def meter(*arguments: object, idle: float = 1.0) -> list[str]:
    return [FARM, "meter", "--json", "--idle-seconds", str(idle), *map(str, arguments)]


def mishap(fault: Fault) -> list[str]:
    return meter("--meter", "both", "--", sys.executable, "-c", MISHAP.format(fault.name))


@dataclass(frozen=True)
class Scene:
    command: Sequence[str]
    devices: Sequence[Device] = (A6000,)
    faults: Sequence[Fault] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Played:
    code: int
    out: str
    err: str
    folder: Path
    dynamic_joules: float  # what the device truly spent above idle

    @property
    def document(self) -> dict[str, Any]:
        assert self.out, self.err
        return json.loads(self.out)


DRAWS = [sys.executable, "-m", "tests.fake_nvml.fake", "3", "300"]
TOUCH = ["--", "touch", "ran"]
NO_SMI = {"PATH": "/nowhere:/bin:/usr/bin"}
SCENES = {
    "job": Scene(
        [
            sys.executable,
            "-c",
            JOB,
            *MEASURE,
            "--gpu",
            "a6000",
            "--meter",
            "both",
            "--idle-seconds",
            "1",
            "--settle-seconds",
            "0",
            "--json",
        ],
        [Device(idle=15), SECOND],
        environment={"CUDA_VISIBLE_DEVICES": SECOND.uuid},
    ),
    "command": Scene(meter("--meter", "both", "--", *DRAWS, idle=2)),
    "lost": Scene(mishap(Fault.LOST)),
    "frozen": Scene(mishap(Fault.FREEZE)),
    "blind": Scene([FARM, "meter", "--meter", "both", "--idle-seconds", "1", "--", *DRAWS], [BLIND]),
    "no counter": Scene(meter("--meter", "both", "--", *DRAWS), faults=[Fault.NO_COUNTER]),
    "short": Scene(meter("--meter", "codecarbon", "--", "sh", "-c", "exit 7", idle=0.2)),
    "no nvidia-smi: both": Scene(meter("--meter", "both", *TOUCH), environment=NO_SMI),
    "no nvidia-smi: codecarbon": Scene(meter("--meter", "codecarbon", *TOUCH), environment=NO_SMI),
    "no nvidia-smi: worker": Scene(
        [FARM, "worker", "--gpu", "a6000", "--device", "0", "--broker", "redis://127.0.0.1:1"],
        environment={**NO_SMI, "FARM_METER": "both"},
    ),
    "0 J: both": Scene(meter("--meter", "both", *TOUCH), faults=[Fault.FREEZE]),
}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Played]:
    """What every scene came to: the job, whose clock is read most closely, by itself, then the others side by side."""
    others = [name for name in SCENES if name != "job"]
    return play(["job"], tmp_path_factory) | play(others, tmp_path_factory)


def play(names: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Played]:
    begin, running = time.monotonic(), {}
    for name in names:
        scene = SCENES[name]
        stage, folder = tmp_path_factory.mktemp("stage"), tmp_path_factory.mktemp("empty")
        with fake.load(stage, *scene.devices, clock="real") as gpu:
            for fault in scene.faults:
                gpu.fault(fault)
            environment = gpu.environment(HOME=str(folder), FARM_HOME=str(stage), **scene.environment)
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            running[name] = gpu.config, folder, subprocess.Popen(scene.command, env=environment, cwd=folder, **pipes)
            time.sleep(0.0 if ":" in name else 0.7)  # what measures at once disturbs each other's clocks
    ended = {}
    for name, (config, folder, process) in running.items():
        out, err = process.communicate(timeout=240)
        with fake.Fake(config) as gpu:
            ended[name] = Played(
                process.returncode,
                out,
                err,
                folder,
                gpu.dynamic(begin, time.monotonic(), len(SCENES[name].devices) - 1),
            )
    return ended


@pytest.mark.alone
def test_a_job_has_its_comparison_per_pass_without_network_or_files(played: dict[str, Played]) -> None:
    run = played["job"]
    assert run.code == 0, run.err
    found = run.document
    comparison = found["environment"]["comparison"]
    assert list(run.folder.iterdir()) == []
    assert (found["meter"], comparison["meter"]) == ("nvml", "codecarbon")
    assert (found["flags"], comparison["flags"], comparison["error"]) == ([], [], None)
    assert found["environment"]["codecarbon"]["country"] == "FRA"
    assert found["repeats"] == 3
    assert found["energy_joules"] == pytest.approx(run.dynamic_joules / 4, rel=0.35)  # three passes and a warm-up
    assert abs(comparison["dynamic_joules"] - found["energy_joules"]) < 1.96 * comparison["dynamic_joules_std"]
    assert comparison["dynamic_joules_std"] < 0.1 * comparison["dynamic_joules"]
    assert comparison["idle_watts"] == pytest.approx(60, abs=2 * comparison["idle_watts_std"] + 1)
    # As CodeCarbon says it: from the first to the last work, images saved in between, with the idle power.
    assert comparison["gross_seconds"] > found["duration_seconds"]
    expected = found["energy_joules"] + 60 * comparison["gross_seconds"]
    assert comparison["gross_joules"] == pytest.approx(expected, abs=3 * comparison["dynamic_joules_std"])


@pytest.mark.alone
def test_a_command_has_its_comparison(played: dict[str, Played]) -> None:
    run = played["command"]
    assert run.code == 0, run.err
    found, comparison = run.document, run.document["comparison"]
    assert (found["meter"], found["flags"]) == ("nvml", [])
    assert found["twin"] == comparison  # its name of 0.1.0
    assert (comparison["meter"], comparison["flags"], comparison["error"]) == ("codecarbon", [], None)
    assert comparison["poll_sensitive"] is False
    assert found["dynamic_joules"] == pytest.approx(run.dynamic_joules, rel=0.02)
    assert abs(comparison["dynamic_joules"] - found["dynamic_joules"]) < 1.96 * comparison["dynamic_joules_std"]
    assert comparison["dynamic_joules_std"] < 0.05 * comparison["dynamic_joules"]
    assert comparison["gross_seconds"] == pytest.approx(found["seconds"], abs=0.1)
    assert comparison["gross_joules"] == pytest.approx(found["energy_joules"], abs=2 * comparison["dynamic_joules_std"])


@pytest.mark.alone
def test_a_device_lost_on_the_way_leaves_the_part_and_says_what_failed(played: dict[str, Played]) -> None:
    run = played["lost"]
    assert run.code == 1
    found, comparison = run.document, run.document["comparison"]
    assert found["complete"] is False
    assert "gpu_lost" in found["flags"]
    assert 0 < found["dynamic_joules"] < run.dynamic_joules
    assert comparison["dynamic_joules"] is None
    assert comparison["gross_joules"] is None
    assert "0 J" in comparison["error"]


@pytest.mark.alone
def test_a_comparison_that_reads_nothing_leaves_the_number(played: dict[str, Played]) -> None:
    run = played["frozen"]
    assert run.code == 0, run.err
    found, comparison = run.document, run.document["comparison"]
    assert found["flags"] == ["counter_frozen"]
    assert found["dynamic_joules"] == pytest.approx(run.dynamic_joules, rel=0.1)  # from the power log
    assert comparison["dynamic_joules"] is None
    assert "0 J" in comparison["error"]


@pytest.mark.alone
def test_without_a_counter_both_say_so_and_agree(played: dict[str, Played]) -> None:
    run = played["no counter"]
    assert run.code == 0, run.err
    found, comparison = run.document, run.document["comparison"]
    assert found["flags"] == comparison["flags"] == ["counter_unsupported"]
    assert abs(comparison["dynamic_joules"] - run.dynamic_joules) < 1.96 * comparison["dynamic_joules_std"]


@pytest.mark.alone
def test_in_words_both_are_told_and_that_the_counter_loses_by_being_read(played: dict[str, Played]) -> None:
    run = played["blind"]
    assert (run.code, run.out) == (0, ""), run.err
    told = [line.strip() for line in run.err.splitlines() if " J " in line]
    assert [line.partition("   ")[2] for line in told[:3]] == ["above idle", "in all", "above idle, by codecarbon"]
    assert "in all, by codecarbon, in " in told[3]
    assert float(told[0].split()[0]) == pytest.approx(run.dynamic_joules, rel=0.1)
    assert "may be too little" in run.err


@pytest.mark.alone
def test_a_window_too_short_is_flagged_and_the_code_is_the_commands(played: dict[str, Played]) -> None:
    run = played["short"]
    assert run.code == 7, run.err
    found = run.document
    assert (found["exit_code"], found["flags"]) == (7, ["window_too_short"])
    assert found["dynamic_joules"] is None
    assert found["comparison"] is found["twin"] is None


@pytest.mark.alone
@pytest.mark.parametrize("name", [name for name in SCENES if ":" in name])
def test_what_cannot_start_is_one_line_before_anything_runs(played: dict[str, Played], name: str) -> None:
    run = played[name]
    assert (run.code, run.out) == (1, "")
    assert len(run.err.splitlines()) == 1
    assert name.partition(":")[0].removeprefix("no ") in run.err
    assert not (run.folder / "ran").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--gpu", "cpu", "--meter", "nvml"], "--meter: nvml: cpu has no NVML"),
        (["--gpu", "cpu", "--meter", "both"], "--meter: both: cpu has no NVML"),
        (["--gpu", "a100", "--simulate", "--meter", "nvml"], "--meter: nvml: a simulated device"),
        (["--gpu", "a100", "--simulate", "--meter", "codecarbon"], "--meter: codecarbon: a simulated device"),
        (["--gpu", "a100", "--simulate", "--meter", "both"], "--meter: both: a simulated device"),
        (
            ["--gpu", "a100", "--meter", "wattmeter"],
            "--meter: wattmeter: one of auto, both, codecarbon, nvml, simulated",
        ),
        (["--gpu", "a100", "--meter", "simulated"], "--meter: simulated: reads what --simulate simulates"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_2(
    farm: Callable[..., Any], arguments: Sequence[str], complaint: str
) -> None:
    done = farm(*MEASURE, *arguments, "--json")
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert complaint in done.err


@pytest.mark.parametrize(
    ("command", "value", "complaint"),
    [
        (["worker", "--gpu", "cpu"], "nvml", "FARM_METER: nvml: cpu has no NVML"),
        (["worker", "--gpu", "a100", "--device", "0", "--simulate"], "both", "FARM_METER: both: a simulated"),
        (["up", "--simulate", "a100"], "codecarbon", "FARM_METER: codecarbon: a simulated"),
        (["up", "--cpu"], "both", "FARM_METER: both: cpu has no NVML"),
        (["up", "--cpu"], "wattmeter", "FARM_METER: wattmeter: one of auto, both, codecarbon, nvml, simulated"),
    ],
)
def test_a_setting_that_no_worker_can_follow_is_refused_at_once(
    farm: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, command: Sequence[str], value: str, complaint: str
) -> None:
    monkeypatch.setenv("FARM_METER", value)
    done = farm(*command)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert complaint in done.err


def test_a_worker_follows_its_setting(tmp_path: Path) -> None:
    identity = WorkerIdentity.plain("a100", 0, tmp_path, simulate=True)
    with pytest.raises(RequestError, match="both: a simulated device"):
        DeviceSession(identity.place, Settings(meter="both")).open()


def test_a_board_that_the_catalog_lacks_cannot_be_simulated() -> None:
    with pytest.raises(RequestError, match="type of the catalog"):
        open_meter(None, simulate=True)


@pytest.mark.parametrize("readings", [0, 1, 2, 12])
def test_too_short_is_said_however_little_was_read(readings: int) -> None:
    times = np.linspace(0.0, 2.4, readings)
    levels = CumulativeEnergy(times=times, joules=10 * times, time_std=np.full(readings, 0.01))
    spans = [Span(label=IDLE, start=0.0, end=1.0), Span(label="work", start=1.0, end=1.2)]
    found = energy_from(levels, spans, flags=("estimated",), shortest_seconds=2.0)
    assert found.flags == ("estimated", "window_too_short")
    assert found.total_joules is None
    assert found.notes["shortest_seconds"] == 2.0
    assert energy_from(levels, spans[:1], shortest_seconds=2.0).flags == ()


def test_a_cpu_is_estimated_and_little_work_is_refused() -> None:
    meter = open_meter("cpu", name="codecarbon")
    try:
        meter.start()
        edges = []
        for _ in range(6):
            edges.append(meter.edge())
            meter.clock.sleep(0.25)
        spans = [Span(label=IDLE, start=edges[0], end=edges[4]), Span(label="work", start=edges[4], end=edges[5])]
        meter.stop()
        found = meter.energy(spans)
    finally:
        meter.close()
    assert found.total_joules is None
    assert set(found.flags) == {"estimated", "window_too_short"}
    assert found.notes["shortest_seconds"] == meter.shortest_seconds == 2.0


def test_what_a_user_sets_for_codecarbon_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CodeCarbon reads .codecarbon.config in the working directory and the home, and CODECARBON_ in the environment."""
    (tmp_path / "home").mkdir()
    (tmp_path / ".codecarbon.config").write_text(f"[codecarbon]\noutput_dir={tmp_path / 'none'}\n")
    (tmp_path / "home" / ".codecarbon.config").write_text("[codecarbon]\nemissions_endpoint=http://[::1]:9/\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CODECARBON_FORCE_CPU_POWER", "54321")
    meter = open_meter("cpu", name="codecarbon")
    try:
        meter.start()
        busy = time.process_time() + 1.0
        while time.process_time() < busy:
            pass
        meter.stop()
        counter = meter.recording().counter
    finally:
        meter.close()
    (begin, _, before), (_, end, after) = counter[0], counter[-1]
    assert 0 < after - before < 2000 * (end - begin)  # what a processor draws, not the 54 kW of the environment
