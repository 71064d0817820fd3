"""What runs, by /proc, and waiting for it: shared by the tests that start real processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from farm.processes import ProcessIdentity


def children_of(pid: int) -> list[int]:
    """Living children."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [p for p in map(int, found.split()) if not is_gone(p)]


def is_gone(pid: int) -> bool:
    """Whether it ended; a zombie has."""
    return not ProcessIdentity.of(pid).alive()


def processes_of(home: Path) -> list[int]:
    """Every living process whose environment or command line names that home, but this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            said = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(home).encode() in said and not is_gone(int(entry.name)):
            found.append(int(entry.name))
    return found


def wait_gone(home: Path, seconds: float = 10.0) -> list[int]:
    """What still runs of that home after so long."""
    deadline = time.monotonic() + seconds
    while (left := processes_of(home)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def wait_until(condition: Callable[[], Any], seconds: float = 20.0, what: str = "") -> Any:
    """Poll until true; fails the test, with what was waited for, after so long."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or condition}"
        time.sleep(0.05)
    return value
