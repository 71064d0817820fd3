"""Commands whose output is closed or full: one line where one can be written, and no document lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import FARM
from tests.fake_nvml import fake

COMMANDS = {
    "version": "--version",
    "help": "sweep --help",
    "no command": "",
    "lists": "workers list --json",
    "computes": "flops flux --resolution 512 --json",
    "long": "plan --model sd2 --gpu a4000 --budget 40 --json",
    "measures": "meter --json --idle-seconds 0.2 -- true",
}


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory):
    with fake.load(tmp_path_factory.mktemp("fake"), clock="real") as loaded:
        yield loaded


def shell(gpu: fake.Fake, line: str) -> subprocess.CompletedProcess[str]:
    """What a shell makes of a line that begins with ``farm``."""
    return sh(gpu, f"{FARM} {line}")


def sh(gpu: fake.Fake, line: str) -> subprocess.CompletedProcess[str]:
    environment = gpu.environment(FARM_HOME=os.environ["FARM_HOME"])
    return subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
@pytest.mark.parametrize(
    ("output", "words"),
    [
        (">&-", "farm: the standard output is closed: send it to a file, or to /dev/null"),
        (">/dev/full", "farm: the output could not be written: No space left on device"),
    ],
    ids=["closed", "full"],
)
def test_an_output_that_cannot_be_written_is_one_line_and_exit_1(gpu, command, output, words) -> None:
    shell(gpu, "db upgrade")  # something to list from
    done = shell(gpu, f"{command} {output}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{words}\n"


@pytest.mark.parametrize("command", ["computes", "measures"])
def test_a_closed_error_output_loses_no_document(gpu, command) -> None:
    done = shell(gpu, f"{COMMANDS[command]} 2>&-")
    assert done.returncode == 0
    assert json.loads(done.stdout)


def test_what_a_measured_command_writes_to_a_closed_error_output_goes_nowhere(gpu) -> None:
    """Not into a file that happens to have got its number."""
    done = shell(gpu, "meter --json --idle-seconds 0.2 -- sh -c 'echo hi; echo ho >&2; exit 3' 2>&- <&-")
    assert done.returncode == 3
    assert json.loads(done.stdout)["exit_code"] == 3


@pytest.mark.parametrize("error", ["2>&-", "2>/dev/full"])
def test_a_refusal_that_nobody_can_read_is_still_exit_2(gpu, error) -> None:
    done = shell(gpu, f"flops no-such-model --resolution 512 {error}")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_words_left_for_an_error_output_that_cannot_be_written_do_not_change_the_exit_code(gpu) -> None:
    """Python flushes once more at its end, and exits with 120 where that fails."""
    left = "import atexit, sys; atexit.register(sys.stderr.write, 'left'); from farm.cli import main"
    script = f"{left}; main(['flops', 'no-such-model', '--resolution', '512'])"
    done = sh(gpu, f'{sys.executable} -c "{script}" 2>/dev/full')
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")
