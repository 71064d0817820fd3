"""What `farm doctor` finds on a coordinator: secrets that others can read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm import doctor
from farm.doctor import Level
from farm.settings import load


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody can enter (those of pytest are closed)."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize(("mode", "level"), [(0o600, Level.OK), (0o644, Level.WARNING), (0o640, Level.WARNING)])
def test_a_secret_that_others_can_read(open_folder, mode, level):
    secret = open_folder / "url"
    secret.write_text("redis://:password@host/0")
    secret.chmod(mode)
    for name in ("database_url_file", "broker_url_file"):
        found = doctor.passwords(load(**{name: secret}))
        assert found.level is level
        assert (str(secret) in found.remedy) == (level is Level.WARNING)
        assert "password@" not in found.found + found.remedy


def test_a_closed_folder_hides_what_is_in_it(open_folder):
    secret = open_folder / "farm.toml"
    secret.write_text("")
    secret.chmod(0o644)
    assert doctor.passwords(load(home=open_folder)).level is Level.WARNING
    open_folder.chmod(0o700)
    assert doctor.passwords(load(home=open_folder)).level is Level.OK
    assert doctor.passwords(load(home=open_folder / "none", broker_url_file=open_folder / "none")).level is Level.OK


@pytest.mark.parametrize("path", ["/proc/home", "/proc/none/home", "/dev/null/home", "/dev/null"])
def test_a_home_that_cannot_be_made_is_a_failure(path):
    found = doctor.home(load(home=path))
    assert (found.level, found.remedy) == (Level.FAILURE, "set FARM_HOME to a folder of yours")
    assert path in found.found


def test_a_home_to_be_is_tried_and_not_left(tmp_path):
    assert doctor.home(load(home=tmp_path / "new" / "home")).level is Level.OK
    assert list(tmp_path.iterdir()) == []


def test_room_is_looked_for_above_a_home_that_cannot_be_looked_at():
    """Too long a name, as whoever is root meets no folder that is closed to him."""
    assert doctor.disk(load(home=f"/tmp/{'a' * 300}/home")).found.endswith(" under /tmp")
