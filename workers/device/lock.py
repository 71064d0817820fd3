"""One measurement a device at a time, across processes and users of a host."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

from farm.domain import OperationError

# Not TMPDIR, not FARM_HOME: everybody on the host must come to the same place.
LOCKS: Final = Path("/tmp/joulefarm-locks")  # noqa: S108  (opened below without following links)


class DeviceLock:
    """The exclusive right to measure on one device, for as long as this process (or a fork of it) lives.

    A flock on ``LOCKS/UUID``: the kernel lets go of it when its holder dies, however it dies. The file says who holds
    it. A command that ``farm meter`` runs may take the device which its ancestor holds: it is measured on purpose.
    """

    def __init__(self, uuid: str, folder: Path = LOCKS) -> None:
        self._path = folder / uuid.replace(os.sep, "_")
        self._file: int | None = None

    def acquire(self) -> Self:
        """Take the device; OperationError naming the holder when it is taken."""
        file = self._open()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = _holder(file)
            os.close(file)
            if holder is not None and holder in _ancestors():
                return self
            who = f"process {holder}" if holder else "another process"
            raise OperationError(
                f"device {self._path.name} is taken: {who} measures on it; wait for its end or use another --device"
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)
        self._file = file
        return self

    def release(self) -> None:
        """Let go. May be called twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _open(self) -> int:
        """The lock file, made for all users if it is not there."""
        try:
            self._prepare_folder()
            try:  # without O_CREAT: Linux refuses it for another user's file in a sticky folder
                return os.open(self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
                if os.fstat(file).st_uid == os.getuid():
                    os.fchmod(file, 0o666)  # whatever the umask
                return file
        except OSError as error:
            raise OperationError(f"device lock {self._path} cannot be opened: {error.strerror}") from None

    def _prepare_folder(self) -> None:
        folder = self._path.parent
        try:
            folder.mkdir(parents=True)
            folder.chmod(0o1777)
        except FileExistsError:
            if not stat.S_ISDIR(folder.lstat().st_mode):
                raise NotADirectoryError(20, "its folder is a link or a file") from None


def _holder(file: int) -> int | None:
    text = os.pread(file, 32, 0).decode(errors="replace").strip()
    return int(text) if text.isdecimal() else None


def _ancestors() -> set[int]:
    try:
        return {parent.pid for parent in psutil.Process().parents()}
    except psutil.Error:
        return set()
