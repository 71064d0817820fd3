"""Tests marked ``alone`` read a real clock closely: while one runs, the other pytest processes of this checkout wait.

Two locks on files that every process can read: whoever begins a test passes the gate, then enters the room, together
with others or alone. Who waits to be alone keeps the gate, so that it is served next.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from pathlib import Path

import pytest


class Room:
    def __init__(self, gate: Path, room: Path) -> None:
        self._gate = os.open(gate, os.O_RDONLY)
        self._room = os.open(room, os.O_RDONLY)
        self._inside = False

    def enter(self, *, alone: bool) -> None:
        """Wait until this test may run; at once where the last one has kept the room."""
        if self._inside:
            return
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        fcntl.flock(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)
        self._inside = True

    def leave(self) -> None:
        fcntl.flock(self._room, fcntl.LOCK_UN)
        self._inside = False


def is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


class OneAtATime:
    """The plugin: files with such tests come first, when no server runs yet; they wait before the timeout counts.

    Next come the files with slow tests, so that no process is left alone with one at the end.
    """

    def __init__(self, folder: Path) -> None:
        self._room = Room(folder / "pyproject.toml", folder / "Makefile")

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
