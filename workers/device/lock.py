"""One measurement a device at a time, across processes, containers and users of a host."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from farm.domain import OperationError, RequestError

# Not TMPDIR, not FARM_HOME: everybody on the host must come to the same place.
LOCKS: Final = Path("/tmp/joulefarm-locks")  # noqa: S108  (opened below without following links)
TOKENS: Final = "FARM_LOCK_TOKENS"  # environment variable: of the locks whose right this process was given
_KERNEL_LOCKS: Final = Path("/proc/locks")
_ROOT: Final = 0


class DeviceLock:
    """The exclusive right to measure on one device, for as long as this process (or a fork of it) lives.

    A flock on ``LOCKS/UUID``: the kernel lets go of it when its holder dies, however it dies. The right may be given to
    children, as to a command that ``farm meter`` measures on purpose: their environment (``shared``) holds a secret of
    which the locked file has the hash. Process ids give no right: those of another container are the same numbers.
    """

    def __init__(self, uuid: str, folder: Path = LOCKS) -> None:
        self._path = folder / uuid.replace(os.sep, "_")
        self._file: int | None = None
        self._token = ""

    def acquire(self) -> Self:
        """Take the device, or use the right to it that this process was given.

        OperationError, naming the holder where it can be seen from here, when it is taken, and where the lock cannot be
        written. RequestError for a folder of locks whose owner, or everybody, could take held ones away.
        """
        file = self._open()
        token = secrets.token_hex()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, 0)
            os.pwrite(file, _hash(token), 0)
        except BlockingIOError:
            given, holder = _is_given(file), _holder(file)
            os.close(file)
            if given:
                return self
            who = f"process {holder}" if holder else "another process"
            raise OperationError(
                f"device {self._path.name} is taken: {who} measures on it; wait for its end or use another --device"
            ) from None
        except OSError as error:
            os.close(file)
            raise OperationError(f"device lock {self._path} cannot be written: {error.strerror}") from None
        self._file, self._token = file, token
        return self

    def shared(self) -> dict[str, str]:
        """Environment variables of children that may measure on the device too, for as long as it is held."""
        return {} if self._file is None else {TOKENS: " ".join([*_tokens(), self._token])}

    def release(self) -> None:
        """Let go. May be called twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _open(self) -> int:
        """The lock file, made for all users if it is not there."""
        folder = None
        try:
            folder = self._open_folder()
            try:  # without O_CREAT: Linux refuses it for another user's file in a sticky folder
                return os.open(self._path.name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            except FileNotFoundError:
                flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                file = os.open(self._path.name, flags, 0o666, dir_fd=folder)
                if os.fstat(file).st_uid == os.geteuid():
                    os.fchmod(file, 0o666)  # whatever the umask
                return file
        except OSError as error:
            raise OperationError(f"device lock {self._path} cannot be opened: {error.strerror}") from None
        finally:
            if folder is not None:
                os.close(folder)

    def _open_folder(self) -> int:
        """The folder of locks, made for all users if it is not there. RequestError where it is not to be trusted."""
        path = self._path.parent
        with suppress(FileExistsError):
            path.mkdir(parents=True)
            path.chmod(0o1777)
        try:
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except NotADirectoryError:  # O_NOFOLLOW with O_DIRECTORY: a link as well
            raise RequestError("lock folder", str(path), "a folder, not a link or a file") from None
        if objection := _objection(os.fstat(folder), path):
            os.close(folder)
            raise RequestError("lock folder", str(path), objection)
        return folder


def _objection(status: os.stat_result, path: Path) -> str:
    """Why locks in such a folder may be taken away by others, and what would be right; empty where they may not."""
    if status.st_uid not in (_ROOT, os.geteuid()):
        owner = f"user {status.st_uid} owns it and could take locks away"
        return f"a folder of root's or of one's own; {owner}: sudo chown root {path}"
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        return f"sticky where everybody may write, as locks could be taken away: sudo chmod 1777 {path}"
    return ""


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).hexdigest().encode()


def _tokens() -> list[str]:
    return os.environ.get(TOKENS, "").split()


def _is_given(file: int) -> bool:
    """Whether who holds the lock gave this process its right."""
    held = os.pread(file, hashlib.sha256().digest_size * 2, 0)
    return any(secrets.compare_digest(held, _hash(token)) for token in _tokens())


def _holder(file: int) -> int | None:
    """The process that took the lock, by its id here; None where the kernel shows none, as in another container."""
    status = os.fstat(file)
    name = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        lines = [line.split() for line in _KERNEL_LOCKS.read_text().splitlines()]
    except OSError:
        return None
    pids = [words[4] for words in lines if words[1:2] == ["FLOCK"] and words[5:6] == [name]]
    return int(pids[0]) if pids and pids[0].isdecimal() else None
