"""What is marked `alone` runs beside no other test of the same checkout, whoever begins first."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.alone import Room


@pytest.fixture
def rooms(tmp_path: Path):
    for name in ("gate", "room"):
        (tmp_path / name).touch()
    return lambda: Room(tmp_path / "gate", tmp_path / "room")


def begin(room: Room, *, alone: bool) -> threading.Event:
    """Enter in a thread, as another process would; set once inside."""
    inside = threading.Event()

    def enter() -> None:
        room.enter(alone=alone)
        inside.set()

    threading.Thread(target=enter, daemon=True).start()
    return inside


def test_others_share_the_room(rooms) -> None:
    first, second = rooms(), rooms()
    first.enter(alone=False)
    assert begin(second, alone=False).wait(10)


def test_who_is_alone_waits_for_those_inside_and_is_served_before_those_who_come_later(rooms) -> None:
    first, lonely, later = rooms(), rooms(), rooms()
    first.enter(alone=False)
    lonely_inside = begin(lonely, alone=True)
    assert not lonely_inside.wait(0.2)
    later_inside = begin(later, alone=False)
    assert not later_inside.wait(0.2)
    first.leave()
    assert lonely_inside.wait(10)
    assert not later_inside.wait(0.2)
    lonely.leave()
    assert later_inside.wait(10)


def test_the_room_is_kept_from_one_such_test_to_the_next(rooms) -> None:
    lonely, other = rooms(), rooms()
    lonely.enter(alone=True)
    lonely.enter(alone=True)
    other_inside = begin(other, alone=False)
    time.sleep(0.1)
    assert not other_inside.is_set()
    lonely.leave()
    assert other_inside.wait(10)
