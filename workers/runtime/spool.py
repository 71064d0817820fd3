"""Every result is safe on this host's disk before the database is tried.

One file a result: written to a temporary name, fsynced, renamed, the folder fsynced. It is deleted when the database
has the result. Workers of one home share the folder: recording is idempotent, so it does not matter who drains it.
For the moment in which the database is tried, a result lies in its worker's slot, a file that is written in place.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import logging
import os
import stat
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from farm.domain import Measurement, OperationError, RequestError
from farm.domain.job import MAX_JOB_ID
from farm.domain.parsing import parse_text, parse_whole
from workers.runtime.slot import Slot, sync_folder

logger = logging.getLogger(__name__)

VERSION: Final = 1
SUFFIX: Final = ".result"
SLOT: Final = ".slot"
OTHERS_SECONDS: Final = 30.0  # another worker's result is left to it for so long


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One result that waits for the database."""

    job_id: int
    attempt: int
    worker: str
    database: str  # identity of the database that the job is from; another one must never get it
    measurement: Measurement
    samples: bytes | None = None  # the meter's raw log


class CorruptEntry(Exception):
    """The file is not what was once written."""


class Spool:
    """The results in one folder that the database does not have yet, as the worker ``owner`` sees them."""

    def __init__(self, folder: Path, owner: str = "") -> None:
        self.folder = folder
        self.corrupt = folder / "corrupt"
        self._mark = hashlib.sha256(owner.encode()).hexdigest()[:8]
        self._slot = Slot(folder / f"own-{self._mark}-{SLOT}")

    def hold(self, entry: Entry) -> Path:
        """Make a result safe on disk as ``put`` does, where it is probably needed for a moment only."""
        with contextlib.suppress(OSError):  # the folder is not there yet, the disk is full or knows no locks
            if self._slot.put(_encode(entry)):
                return self._slot.path
        return self.put(entry)

    def put(self, entry: Entry) -> Path:
        """Make a result safe on disk. OperationError, nothing left behind, where the disk is full or read-only."""
        content = _encode(entry)
        name = f"{entry.job_id:010d}-{entry.attempt}-{self._mark}-{uuid.uuid4().hex}"
        temporary = self.folder / f".{name}.tmp"
        path = self.folder / f"{name}{SUFFIX}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(self.folder)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise OperationError(f"spool {self.folder}: {error.strerror or error}") from None
        return path

    def drain(self, databases: Collection[str], accept: Callable[[Entry], object]) -> int:
        """Offer every waiting result of a database of these names to ``accept``; returns how many it took.

        Results of other workers are offered when they have lain here for a while: their owner may be gone.

        A file is deleted when ``accept`` returned. A corrupt file, or one that ``accept`` refuses with a RequestError,
        is moved to ``corrupt/`` and logged, so that it can be looked at and stops nobody. Whatever else ``accept``
        raises ends the drain and leaves the file. OperationError where the folder cannot be read.
        """
        taken = 0
        for path in self._files():
            if not self._is_ours(path):
                continue
            if path.suffix != SLOT:
                taken += self._offer(path, databases, accept)
                continue
            try:
                with Slot(path).locked() as file:
                    if file is not None:  # else its owner writes, or another drains it
                        taken += self._offer(path, databases, accept)
            except OSError as error:
                logger.error("spool: %s cannot be read: %s", path, error.strerror)
        return taken

    def _offer(self, path: Path, databases: Collection[str], accept: Callable[[Entry], object]) -> bool:
        """Offer what is in a file to ``accept``; whether that took it."""
        try:
            content = path.read_bytes() if path.suffix != SLOT else Slot(path).content()
            if path.suffix == SLOT and not content:
                return False  # delivered meanwhile
            entry = _decode(content)
        except FileNotFoundError:
            return False  # another worker was quicker
        except CorruptEntry as error:
            self._set_aside(path, str(error))
            return False
        except OSError as error:
            logger.error("spool: %s cannot be read: %s", path, error.strerror)
            return False
        if entry.database not in databases:
            return False
        try:
            accept(entry)
        except RequestError as error:
            self._set_aside(path, f"refused by the database: {error}")
            return False
        self.remove(path)
        return True

    def remove(self, path: Path) -> None:
        """Forget a result that the database has. A file that cannot be deleted is drained again, which is harmless."""
        with contextlib.suppress(OSError):
            if path.suffix == SLOT:
                Slot(path).clear()
            else:
                path.unlink(missing_ok=True)

    @property
    def waiting(self) -> int:
        """How many results the database does not have yet. OperationError where the folder cannot be read."""
        return sum(1 for _ in self._files())

    @property
    def set_aside(self) -> int:
        """How many corrupt files somebody should look at. OperationError where their folder cannot be read."""
        return sum(path.suffix == SUFFIX for path in _listing(self.corrupt))

    def _files(self) -> Iterator[Path]:
        names = (path for path in _listing(self.folder) if path.suffix in (SUFFIX, SLOT))
        files = sorted(path for path in names if stat.S_ISREG(_mode(path)))  # a pipe would be waited for
        yield from (path for path in files if path.suffix != SLOT or not Slot(path).is_empty)

    def _is_ours(self, path: Path) -> bool:
        if f"-{self._mark}-" in path.name:
            return True
        try:
            return time.time() - path.stat().st_mtime > OTHERS_SECONDS
        except OSError:
            return False  # its owner has just delivered it

    def _set_aside(self, path: Path, reason: str) -> None:
        logger.error("spool: %s is of no use (%s); moved to %s", path.name, reason, self.corrupt)
        try:
            self.corrupt.mkdir(exist_ok=True, mode=0o700)
            unique = f"-{uuid.uuid4().hex}{SUFFIX}" if path.suffix == SLOT else ""
            path.replace(self.corrupt / f"{path.stem if unique else path.name}{unique}")
        except OSError as error:
            logger.error("spool: %s cannot be moved: %s", path, error.strerror)


def _listing(folder: Path) -> list[Path]:
    """What a folder holds; nothing where there is none. OperationError where it cannot be read."""
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise OperationError(f"spool {folder}: {error.strerror or error}") from None


def _mode(path: Path) -> int:
    try:
        return path.lstat().st_mode
    except OSError:
        return 0  # another worker was quicker


def database_fingerprint(url: str) -> str:
    """Return the name that results of joulefarm 0.1.0 give a database: a hash of its URL less user and password."""
    scheme, _, rest = url.partition("://")
    place = rest.rpartition("@")[2].partition("?")[0]
    return hashlib.sha256(f"{scheme.partition('+')[0]}://{place}".encode()).hexdigest()[:16]


def _encode(entry: Entry) -> bytes:
    """The digest of the body on the first line, the body as JSON on the second."""
    body: dict[str, Any] = {
        "version": VERSION,
        "job_id": entry.job_id,
        "attempt": entry.attempt,
        "worker": entry.worker,
        "database": entry.database,
        "measurement": entry.measurement.to_dict(),
        "samples": base64.b64encode(entry.samples).decode() if entry.samples is not None else None,
    }
    text = json.dumps(body, separators=(",", ":"), default=str).encode()
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text


def _decode(content: bytes) -> Entry:
    digest, _, text = content.partition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != digest:
        raise CorruptEntry("its digest does not match")
    try:
        body = json.loads(text)
        if body["version"] != VERSION:
            raise CorruptEntry(f"version {body['version']} is not known here")
        samples = body["samples"]
        return Entry(
            job_id=_number("job_id", body["job_id"]),
            attempt=_number("attempt", body["attempt"]),
            worker=parse_text("worker", body["worker"]),
            database=parse_text("database", body["database"]),
            measurement=Measurement.from_dict(body["measurement"]),
            samples=base64.b64decode(samples) if samples is not None else None,
        )
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError, RecursionError, RequestError) as error:
        raise CorruptEntry(f"{type(error).__name__}: {error}") from None


def _number(field: str, value: object) -> int:
    """A positive number that SQL holds."""
    number = parse_whole(field, value)
    if not 0 < number <= MAX_JOB_ID:
        raise RequestError(field, value, f"a whole number from 1 to {MAX_JOB_ID}")
    return number
