"""Tests marked ``alone`` read a real clock closely: while they run, the other pytest processes of this checkout wait.

Such a test takes a seat, of which there are two: most of them wait for a clock, and two cores serve two of them. All
others need every seat, which they share. Whoever begins a test passes the gate first; who waits there is served next.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator, Sequence
from pathlib import Path

import pytest

POLL_SECONDS = 0.01


class Room:
    """The locks, as one process holds them: on files that every process can read."""

    def __init__(self, gate: Path, seats: Sequence[Path]) -> None:
        self._gate = os.open(gate, os.O_RDONLY)
        self._seats = [os.open(seat, os.O_RDONLY) for seat in seats]
        self._inside = False

    def enter(self, *, alone: bool) -> None:
        """Wait until this test may run; at once where the last one has kept its seat."""
        if self._inside:
            return
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        if alone:
            while not any(map(_taken, self._seats)):
                time.sleep(POLL_SECONDS)
        else:
            for seat in self._seats:
                fcntl.flock(seat, fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)
        self._inside = True

    def leave(self) -> None:
        for seat in self._seats:
            fcntl.flock(seat, fcntl.LOCK_UN)
        self._inside = False


def _taken(seat: int) -> bool:
    """Whether a seat was free and is ours now."""
    try:
        fcntl.flock(seat, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


class Turns:
    """The plugin: files with such tests come first, when no server runs yet; they wait before the timeout counts.

    Next come the files with slow tests, so that no process is left alone with one at the end.
    """

    def __init__(self, folder: Path) -> None:
        self._room = Room(folder / "pyproject.toml", (folder / "Makefile", folder / "README.md"))

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        alone = {item.path for item in items if is_alone(item)}
        slow = {item.path for item in items if item.get_closest_marker("slow")}

        def order(item: pytest.Item) -> tuple[int, str, bool]:
            if item.path in alone:
                return 0, str(item.path), not is_alone(item)
            return (1, "", False) if item.path in slow else (2, "", False)

        items.sort(key=order)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        self._room.enter(alone=is_alone(item))
        try:
            return (yield)
        finally:
            if not (is_alone(item) and nextitem is not None and is_alone(nextitem)):
                self._room.leave()
