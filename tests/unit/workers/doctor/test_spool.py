"""What `farm doctor` says of the spool."""

from __future__ import annotations

import os
from pathlib import Path

from farm.doctor import Level
from farm.settings import load
from workers.doctor.spool import spool
from workers.runtime.spool import Spool


def test_results_that_wait_and_results_that_were_set_aside(home):
    settings = load()
    assert [found.level for found in spool(settings)] == [Level.OK]
    settings.spool.mkdir(parents=True)
    unreadable = settings.spool / "0000000001-1-abc.result"
    unreadable.write_text("nonsense")
    os.utime(unreadable, (1.0, 1.0))  # of long ago, so it is not left to its owner
    (waiting,) = spool(settings)
    assert waiting.level is Level.WARNING
    assert waiting.found.startswith("1 result(s) wait")
    Spool(settings.spool, "w").drain("db", lambda _entry: None)
    nothing_waits, set_aside = spool(settings)
    assert nothing_waits.level is Level.OK
    assert set_aside.level is Level.WARNING
    assert set_aside.found.startswith("1 result(s)")
    assert "corrupt" in set_aside.found


def test_a_spool_that_cannot_be_read_is_a_warning_and_not_an_empty_one(home, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    settings = load()
    monkeypatch.setattr(Path, "iterdir", refuse)
    (unreadable,) = spool(settings)
    assert unreadable.level is Level.WARNING
    assert unreadable.found == f"spool {settings.spool}: Permission denied"
