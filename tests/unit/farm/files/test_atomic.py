"""A file is replaced whole, and nothing but a plain file is ever replaced."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from farm.domain import OperationError, RequestError
from farm.files.atomic import atomic_write, write_private


def write(path: Path, text: str = "new") -> None:
    with atomic_write(path, "out") as temporary:
        temporary.write_text(text)


def test_what_was_there_stays_until_the_end_and_after_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")
    with suppress(ZeroDivisionError), atomic_write(path, "out") as temporary:
        temporary.write_text("half")
        assert path.read_text() == "old"
        raise ZeroDivisionError
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"out.csv": "old"}
    write(path)
    assert path.read_text() == "new"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "results" / "rows.csv", tmp_path / "latest.csv"
    target.parent.mkdir()
    link.symlink_to(target)
    write(link)
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_devices_pipes_and_sockets_are_left_as_they_are(tmp_path: Path) -> None:
    """Root could replace /dev/null by a file, for everybody on the host."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for path in (pipe, tmp_path / "socket", Path("/dev/null")):
            before = path.stat().st_mode
            with pytest.raises(RequestError, match="a plain file"):
                write(path)
            assert path.stat().st_mode == before


@pytest.mark.parametrize("name", ["", ".", "missing/out.csv", "a" * 300, "loop"])
def test_what_cannot_be_written_is_refused_by_the_options_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(RequestError, match="out"):
        write(tmp_path / name)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["loop"]


def test_a_name_that_became_a_folder_meanwhile_is_an_error_of_the_operation(tmp_path: Path) -> None:
    with pytest.raises(OperationError), atomic_write(tmp_path / "out", "out"):
        (tmp_path / "out").mkdir()


def test_what_cannot_be_written_in_private_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    write_private(path, "old")
    assert path.stat().st_mode & 0o777 == 0o600

    def full(_self: Path, _target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OperationError, match="secret: cannot be written: No space left"):
        write_private(path, "new")
    assert {entry.name: entry.read_text() for entry in tmp_path.iterdir()} == {"secret": "old"}
    with pytest.raises(OperationError, match="cannot be written"):
        write_private(tmp_path / "nowhere" / "secret", "new")


def test_a_file_is_open_to_whom_it_was_and_a_new_one_to_whom_the_umask_leaves_it(tmp_path: Path) -> None:
    path, new = tmp_path / "rows.csv", tmp_path / "new.csv"
    path.write_text("old")
    path.chmod(0o640)
    before = os.umask(0o077)
    try:
        write(path)
        write(new)
    finally:
        os.umask(before)
    assert (path.stat().st_mode & 0o777, new.stat().st_mode & 0o777) == (0o640, 0o600)
    assert path.read_text() == "new"
