"""A file that is written in place again and again: it costs one sync a result, and no change of a folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOM: Final = 256 * 1024  # bytes, allocated once; what is longer goes elsewhere
END: Final = b"\0"  # after the content, in its place where there is none


class Slot:
    """A file with room for one content at a time. Its owner writes; whoever has it ``locked`` reads and clears."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put(self, content: bytes) -> bool:
        """Make a content safe on disk; False where it does not fit, where another is held, or somebody reads that.

        OSError where the disk does not take it.
        """
        if len(content) >= ROOM or END in content:
            return False
        with self.locked(create=True) as file:
            if file is None or os.pread(file, 1, 0) != END:
                return False
            try:
                _write(file, content + END)
                os.fdatasync(file)
            except OSError:
                with contextlib.suppress(OSError):
                    os.pwrite(file, END, 0)  # what was taken in part, or maybe not, is not to be read
                raise
            return True

    def content(self) -> bytes:
        """What is held; nothing where there is nothing, or no such file."""
        with contextlib.suppress(FileNotFoundError):
            return self.path.read_bytes().partition(END)[0]
        return b""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is held."""
        try:
            with self.path.open("rb") as file:
                return file.read(1) in (END, b"")
        except FileNotFoundError:
            return True
        except OSError:
            return False

    def clear(self) -> None:
        """Forget the content. Not synced: what comes back after a power cut is known to be old."""
        with contextlib.suppress(FileNotFoundError), self.path.open("r+b", buffering=0) as file:
            file.write(END)

    @contextmanager
    def locked(self, *, create: bool = False) -> Iterator[int | None]:
        """The open file, which nobody else has locked meanwhile; None where somebody has, or where there is none."""
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            if not create:
                yield None
                return
            file = self._make()
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            yield file
        finally:
            os.close(file)

    def _make(self) -> int:
        """The file with all of its room, which the folder knows of whatever happens."""
        file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            _write(file, END * ROOM)
            os.fsync(file)
            sync_folder(self.path.parent)
        except BaseException:
            os.close(file)
            self.path.unlink(missing_ok=True)
            raise
        return file


def _write(file: int, content: bytes) -> None:
    """Write a content at the file's beginning. OSError where the disk takes none or a part of it."""
    if os.pwrite(file, content, 0) < len(content):  # a disk that becomes full says so at the next write only
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def sync_folder(folder: Path) -> None:
    """Make safe on disk which files a folder has."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
