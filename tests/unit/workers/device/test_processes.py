"""Whose the processes on a device are, told from real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from workers.device.processes import DeviceProcesses, Occupants

NOBODY = 2**22 + 7  # an id beyond any process's


@contextmanager
def process(code: str = "") -> Iterator[int]:
    """A child of ours that has run the code and lives on."""
    line = f"{code}\nprint(flush=True)\ninput()"
    child = subprocess.Popen([sys.executable, "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        yield child.pid
    finally:
        child.communicate(b"\n")


def occupants(ours: set[int] = frozenset(), foreign: set[int] = frozenset(), unknown: set[int] = frozenset()):
    return Occupants(ours=frozenset(ours), foreign=frozenset(foreign), unknown=frozenset(unknown))


@pytest.mark.parametrize("container", [False, True])
def test_our_own_are_this_process_and_its_descendants_also_when_they_have_ended(container: bool) -> None:
    processes = DeviceProcesses(os.getpid(), container=container)
    with process() as child:
        own = frozenset({os.getpid(), child})
        assert processes.tell_apart(own) == occupants(ours=own)
    assert processes.tell_apart(own) == occupants(ours=own)


@pytest.mark.parametrize("container", [False, True])
def test_who_was_there_before_us_is_foreign_by_whatever_id(container: bool) -> None:
    processes = DeviceProcesses(os.getpid(), frozenset({NOBODY}), container=container)
    assert processes.tell_apart(frozenset({NOBODY})) == occupants(foreign={NOBODY})
    processes.were_there(frozenset({NOBODY + 1}))
    assert processes.tell_apart(frozenset({NOBODY + 1})) == occupants(foreign={NOBODY + 1})


@pytest.mark.parametrize("container", [False, True])
def test_newcomers_whose_ids_nobody_bears_here_are_unknown_however_many(container: bool) -> None:
    processes = DeviceProcesses(os.getpid(), frozenset({NOBODY}), container=container)
    newcomers = {NOBODY + number for number in range(1, 9)}
    assert processes.tell_apart(frozenset(newcomers)) == occupants(unknown=newcomers)


def test_outside_containers_an_id_says_who_it_is() -> None:
    with process() as parent, process() as sibling:
        assert DeviceProcesses(parent, container=False).tell_apart(frozenset({sibling})) == occupants(foreign={sibling})


def test_in_a_container_an_id_says_who_it_is_where_that_process_holds_a_device(tmp_path: Path) -> None:
    """Another has the same number by chance: what NVML names runs outside."""
    board = tmp_path / "nvidia0"
    board.touch()
    with process() as parent, process() as chance, process(f"board = open({str(board)!r})") as holder:
        processes = DeviceProcesses(parent, container=True, device_files=str(tmp_path / "nvidia"))
        assert processes.tell_apart(frozenset({chance, holder})) == occupants(foreign={holder}, unknown={chance})
