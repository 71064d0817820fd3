"""The command under measurement and its subreaper, in whatever surroundings a farm is started."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN = """
import signal, sys
from workers.command.process import Command
from workers.command.foreground import Interrupted, Interruptions
interruptions = Interruptions()
with Command(["sh", "-c", sys.argv[1]]) as command:
    try:
        with interruptions.allowed():
            command.start()
            command.until_ended()
        print("ended", command.wait(), flush=True)
    except Interrupted:
        print("ended", command.end(interruptions.number), flush=True)
"""


def test_a_blocked_sigchld_is_no_hang() -> None:
    def block() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))

    done = subprocess.run(
        [sys.executable, "-c", RUN, "exit 3"], preexec_fn=block, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "ended 3\n"


def test_a_terminals_ctrl_c_comes_once() -> None:
    """The terminal has told the command already: what it does in answer is not cut short by a second signal."""
    answer = "trap 'echo again; exit 9' INT; sleep 0.7; echo cleaned; exit 7"
    command = f'trap "{answer}" INT; echo ready; sleep 60 & wait'
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", RUN, command])
    said = b""
    while b"ready" not in said:
        said += os.read(terminal, 1024)
    time.sleep(0.2)
    os.write(terminal, b"\x03")
    while True:
        try:
            found = os.read(terminal, 1024)
        except OSError:  # the terminal's other end is closed
            break
        if not found:
            break
        said += found
    os.waitpid(child, 0)
    os.close(terminal)
    assert b"cleaned" in said
    assert b"again" not in said
    assert b"ended 7" in said


@pytest.mark.parametrize("victim", ["subreaper", "command"])
def test_a_command_that_is_killed_before_it_is_started_is_one_line(victim: str) -> None:
    program = """
import contextlib, psutil, sys, time
from farm.domain import OperationError
from workers.command.process import Command
with Command(["true"]) as command:
    subreaper, = psutil.Process().children()
    while not subreaper.children():
        time.sleep(0.01)
    family = {"subreaper": subreaper, "command": subreaper.children()[0]}
    family[sys.argv[1]].kill()
    with contextlib.suppress(psutil.NoSuchProcess):
        while family["command"].status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
    try:
        command.start()
    except OperationError as error:
        print(error, flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, victim], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout, done.stderr) == ("true: its process was killed before it was started\n", "")


def test_what_the_command_started_may_clean_up_as_well(tmp_path: Path) -> None:
    """A shell that is asked to end goes at once; the program that it started has its grace too."""
    program = """
import signal, sys, time
from pathlib import Path
from workers.command.process import Command
ready, cleaned = map(Path, sys.argv[1:])
child = f"trap 'sleep 0.5; echo > {cleaned}; exit' TERM; echo > {ready}; while :; do sleep 0.05; done"
with Command(["sh", "-c", f'sh -c "{child}" & sleep 60']) as command:
    command.start()
    while not ready.exists():
        time.sleep(0.01)
    print(command.end(signal.SIGTERM), cleaned.exists())
"""
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "ready", tmp_path / "cleaned"],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.stdout == "143 True\n"
