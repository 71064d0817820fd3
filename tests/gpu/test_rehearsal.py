"""The acceptance of a real GPU, rehearsed whole: fake driver, nano pipelines, real processes, queue and database."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from farm.domain import SPOILING_FLAGS, Configuration
from farm.files.table import read_table
from tests.fake_nvml import fake
from tests.fake_nvml.board import Device, Noise
from tests.gpu import report
from tests.gpu.acceptance import ROOT, Check, Failed, Run, work_off

H200 = Device(
    name="NVIDIA H200",
    architecture="Hopper",
    capability=(9, 0),
    memory_bytes=141 * 2**30,
    idle=80.0,
    noise=Noise(white=1.0, seed=3),
    power_limit=700.0,
    usage_is_average=True,
)
# Sets the fake device's limit as the real program does, and writes down that it was asked.
SMI = """#!/bin/sh
echo "$@" >> {log}
exec {python} -c 'import sys
from tests.fake_nvml import fake
from tests.fake_nvml.board import Fault
gpu = fake.attach()
gpu.clear_faults()
gpu.fault(Fault.POWER_LIMIT, value=float(sys.argv[-1]))' "$@"
"""


@pytest.fixture
def board(tmp_path: Path):
    """Environment of a host with one H200, and the log of what its nvidia-smi was asked."""
    log = tmp_path / "smi.log"
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(SMI.format(log=log, python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with fake.load(tmp_path / "fake", H200, clock="real") as gpu:
        environment = gpu.environment()
        environment["PATH"] = f"{program.parent}{os.pathsep}{environment['PATH']}"
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "tests/gpu/rehearsal"), environment["PYTHONPATH"]])
        yield environment, log


def accept(environment: dict[str, str], out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.gpu", "--size", "nano", "--out", str(out), *arguments]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=880)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_runs_whole_without_a_gpu(board, tmp_path: Path) -> None:
    environment, log = board
    out = tmp_path / "out"
    done = accept(environment, out, "--minutes", "0", "--set-power-limit")
    assert done.returncode == 0, done.stderr
    document = json.loads((out / "report.json").read_text())
    checks = document["checks"]
    assert {name for name, entry in checks.items() if not entry["ok"]} == set()
    assert not document["left_out"]
    assert document["rehearsed"] is True

    device = checks["doctor"]["found"]["devices"][0]
    assert device["gpu"] == "h200"
    assert device["idle_cold"]["watts"] == pytest.approx(80, abs=2)
    kinds = checks["weights"]["found"]["kinds"]
    assert list(kinds) == ["default", "half zeros", "unit variance", "heavy tails", "all zeros"]
    assert kinds["all zeros"]["zeros_percent"] == 100
    assert all(kind["nonfinite_percent"] == 0 for kind in kinds.values())
    flux = checks["measure flux"]["found"]
    assert flux["predicted"]["energy_joules"] > 0
    assert flux["measurement"]["forwards"] == 2
    assert (out / "flux-64x64-T2-fp32-N1-nano.samples").stat().st_size > 100

    sweep = checks["sweep"]["found"]
    assert sweep["counts"] == {"queued": 0, "running": 0, "done": 6, "failed": 0, "cancelled": 0}
    assert sweep["lost"] == 1
    assert len(sweep["rows"]) == 7  # and the one after the batch that was too large
    assert sweep["too_large"]["state"] == "failed"
    assert "out_of_memory" in sweep["too_large"]["reason"]
    assert sweep["too_large"]["after_it"] == "done"
    assert set(checks["calibrate"]["found"]["reached"]) == {"matmul", "attention", "convolution", "memory"}
    compared = checks["laws"]["found"]["rows"]
    pipelines = [entry["found"]["measurement"] for name, entry in checks.items() if name.startswith("measure ")]
    every = [*pipelines, *sweep["rows"]]
    assert len(every) == 9
    # What a busy host spoilt is kept in the report and compared with nothing.
    good = [row for row in every if row["energy_joules"] is not None and SPOILING_FLAGS.isdisjoint(row["flags"])]
    assert compared == len(good)

    limits = checks["power limit"]["found"]
    assert list(limits["limits"]) == ["700", "525", "350"]
    assert [line.split()[-1] for line in log.read_text().splitlines()] == ["700", "700", "525", "700", "350", "700"]

    rows = read_table(out / "rows" / "h200.csv")
    assert len(rows) == compared + 2  # with the calibration's
    assert not (ROOT / "analysis/data/measured/h200.csv").read_text().count("nano")
    text = (out / "report.md").read_text()
    assert "Rehearsed over the fake driver" in text
    assert "GPU-" not in text + (out / "report.json").read_text()

    again = accept(environment, out, "--minutes", "1")
    assert again.returncode == 0
    assert again.stderr.count("done before") == len(checks) - 1  # the power limit was not asked for


def test_a_check_without_time_is_left_out_and_a_failed_one_costs_no_other(tmp_path: Path) -> None:
    run = Run(out=tmp_path, gpu="h200", device=0, ends=time.monotonic() + 100)

    def broken(_: Run) -> dict[str, object]:
        raise Failed("no such luck", {"part": 1})

    checks = [
        Check(name="a", step=1, title="", seconds=1, run=broken),
        Check(name="b", step=2, title="", seconds=1000, run=lambda _: {"value": 2}),
        Check(name="c", step=3, title="", seconds=1, run=lambda _: {"value": 3}),
        Check(name="d", step=4, title="", seconds=1, run=lambda _: {"value": 4}, needs=("a",)),
    ]
    said: list[str] = []
    work_off(run, checks, said.append)
    assert (run.done["a"]["why"], run.result("a")) == ("no such luck", {"part": 1})
    assert set(run.skipped) == {"b", "d"}
    assert run.skipped["d"] == "needs a"
    assert run.result("c") == {"value": 3}
    text = report.markdown(run)
    assert "**failed**: no such luck" in text
    assert "left out: needs a" in text

    later = Run(out=tmp_path, gpu="h200", device=0)
    later.resume()
    assert set(later.done) == {"c"}  # what failed is tried again
    with pytest.raises(Failed, match="holds a run of h200"):
        Run(out=tmp_path, gpu="a100", device=0).resume()


def test_the_power_limit_comes_back_when_the_program_is_killed(board, tmp_path: Path) -> None:
    environment, log = board
    program = (
        "import time; from tests.gpu.power_limit import limited\n"
        "with limited(0, 400, restore=700): print('limited', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", program], env=environment, cwd=ROOT, stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"limited\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    deadline = time.monotonic() + 30
    while len(log.read_text().splitlines()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [line.split()[-1] for line in log.read_text().splitlines()] == ["400", "700"]


def test_a_board_that_the_catalog_lacks_is_refused(tmp_path: Path) -> None:
    with fake.load(tmp_path / "fake", Device(name="NVIDIA Unheard 1"), clock="real") as gpu:
        done = accept(gpu.environment(), tmp_path / "out", "--minutes", "1")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "NVIDIA Unheard 1 is not in the catalog" in done.stderr


def test_a_sweep_file_adds_its_configurations(tmp_path: Path) -> None:
    from tests.gpu import steps

    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "models: [sd2]\ngpus: [h200, a100]\nresolutions: [512]\nsteps: [10, 20]\nprecisions: [fp16]\n"
        "cfg: [false]\nprompts: [4]\n"
    )
    run = Run(out=tmp_path, gpu="h200", device=0)
    names = {check.name for check in steps.grid(run, spec)}
    assert names == {f"measure {Configuration.label(_sd2(steps_))}" for steps_ in (10, 20)}


def _sd2(steps: int) -> Configuration:
    return Configuration(
        model="sd2", gpu="h200", width=512, height=512, steps=steps, precision="fp16", cfg=False, prompts=4
    )
