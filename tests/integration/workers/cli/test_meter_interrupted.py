"""`farm meter` interrupted, hurried and killed: what it says, and that nothing of its command is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import FARM
from tests.fake_nvml import fake
from tests.processes import is_gone

DRAWS = f"{sys.executable} -m tests.fake_nvml.fake"
STUBBORN = f"trap '' INT TERM HUP; {DRAWS} 60 300; sleep 600"


@pytest.fixture
def gpu(tmp_path: Path) -> Iterator[fake.Fake]:
    with fake.load(tmp_path, clock="real") as loaded:
        yield loaded


def start(gpu: fake.Fake, command: str, *, ignored: signal.Signals | None = None) -> subprocess.Popen[str]:
    def dispositions() -> None:  # whatever the test runner was started with
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN if number == ignored else signal.SIG_DFL)

    return subprocess.Popen(
        [FARM, "meter", "--json", "--idle-seconds", "0.5", "--", "sh", "-c", command],
        env=gpu.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=dispositions,
    )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def until_it_draws(gpu: fake.Fake) -> None:
    until(lambda: gpu.watts(time.monotonic()) > 200)


def assert_gone(family: list[psutil.Process]) -> None:
    """Left are zombies at most, where the tests' init does not reap."""
    until(lambda: all(is_gone(process.pid) for process in family))


@pytest.mark.alone
@pytest.mark.parametrize("command", [f"{DRAWS} 60 300", STUBBORN], ids=["obedient", "stubborn"])
@pytest.mark.parametrize("gap", [0.05, 0.5])
def test_who_interrupts_again_is_served_faster_and_loses_nothing(gpu, command: str, gap: float) -> None:
    process = start(gpu, command)
    until_it_draws(gpu)
    family = psutil.Process(process.pid).children(recursive=True)
    time.sleep(1)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(gap)
    begun = time.monotonic()
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - begun < 2.5  # no grace of 3 s
    found = json.loads(out)
    assert found["complete"] is False
    assert found["exit_code"] in (130, 137)
    assert found["dynamic_joules"] > 200
    assert_gone(family)


def test_a_signal_that_comes_when_all_is_measured_changes_no_document(gpu) -> None:
    """However late it comes: one document, and the signal in the exit code or not, but no death by it."""
    process = start(gpu, f"{DRAWS} 0.3 300")
    until_it_draws(gpu)
    while process.poll() is None:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.002)
    out, err = process.communicate()
    assert (process.returncode, err) == (143, "")
    assert json.loads(out)["complete"] is False


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_what_was_ignored_at_the_start_stays_ignored(gpu, number: signal.Signals) -> None:
    process = start(gpu, f"{DRAWS} 1 300; kill -{int(number)} $$; exit 5", ignored=number)
    until_it_draws(gpu)
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 5
    assert json.loads(out)["complete"] is True


KILLED = {
    "grandchild": f"{DRAWS} 60 300; true",
    "session of its own": f"setsid sleep 600 & {DRAWS} 60 300; true",
    "orphan": f"(sleep 600 &) ; {DRAWS} 60 300; true",
    "deaf": STUBBORN,
}


@pytest.mark.parametrize("command", KILLED.values(), ids=KILLED.keys())
def test_nothing_outlives_a_meter_that_is_killed(gpu, command: str) -> None:
    process = start(gpu, command)
    until_it_draws(gpu)
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 3
    process.kill()
    process.communicate()
    assert_gone(family)


def test_killed_before_the_window_it_leaves_nothing_waiting(gpu, tmp_path: Path) -> None:
    process = start(gpu, f"touch {tmp_path / 'ran'}")
    parent = psutil.Process(process.pid)
    until(lambda: len(parent.children(recursive=True)) >= 2 and gpu.polls() > 0)
    family = parent.children(recursive=True)
    process.kill()
    process.communicate()
    assert_gone(family)
    assert not (tmp_path / "ran").exists()


def test_a_killed_subreaper_takes_the_command_along_and_is_no_hang(gpu) -> None:
    process = start(gpu, f"{DRAWS} 60 300")
    until_it_draws(gpu)
    (subreaper,) = psutil.Process(process.pid).children()
    subreaper.kill()
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 137
    assert json.loads(out)["exit_code"] == 137


def test_what_a_command_leaves_behind_on_purpose_stays(gpu, tmp_path: Path) -> None:
    process = start(gpu, f"sleep 600 </dev/null >/dev/null 2>&1 & echo $! > {tmp_path / 'pid'}")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    left = int((tmp_path / "pid").read_text())
    try:
        assert psutil.Process(left).status() == psutil.STATUS_SLEEPING
    finally:
        os.kill(left, signal.SIGKILL)


UNFIT = {
    "garbage": (b"garbage\n", "a program, or a script"),
    "empty": (b"", "a program, or a script"),
    "no interpreter": (b"#!/no/such/interpreter -x\n", "'/no/such/interpreter' cannot be executed"),
    "blank interpreter": (b"#!\n", "'' cannot be executed"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_file_that_no_system_executes_is_refused_before_anything_is_measured(
    farm_process, tmp_path: Path, name: str
) -> None:
    content, words = UNFIT[name]
    command = tmp_path / "command"
    command.write_bytes(content)
    command.chmod(0o755)
    done = farm_process("meter", "--", command, LD_LIBRARY_PATH="")
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert words in done.err
