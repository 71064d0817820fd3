"""The database as the page has it: opened when it is there, asked again after a failure, empty where there is none."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from farm.database import Store
from farm.domain.errors import OperationError, RequestError
from farm.settings import Settings
from farm.urls import file_of, of_file

Mark = tuple[int, int] | None  # device and inode of a SQLite file; None where there is none


@contextmanager
def away() -> Iterator[None]:
    """Turn a refusal of the database itself into OperationError: the reader's question is not at fault."""
    try:
        yield
    except RequestError as error:
        if error.field != "database":
            raise
        raise OperationError(str(error)) from error


class Database:
    """One store, held open. What is away or damaged is tried again at the next request.

    Args:
        settings: where it is.
        url: of the database, instead of that of the settings.
        missing_is_empty: show a SQLite file that is not there as an empty farm, until it is there.
    """

    def __init__(self, settings: Settings, url: str | None = None, *, missing_is_empty: bool = True) -> None:
        self.settings = settings
        self.url = url
        self._missing_is_empty = missing_is_empty
        self._lock = threading.Lock()
        self._store: Store | None = None
        self._mark: Mark = None
        self._empty: tempfile.TemporaryDirectory[str] | None = None

    def store(self) -> Store:
        """The open store. Raises as ``Store.open`` does where it cannot be had now."""
        with self._lock:
            mark = _mark(self._path)
            if self._store is not None and mark != self._mark:
                self._close()
            if self._store is None:
                self._store, self._mark = self._opened(mark), mark
            return self._store

    def forget(self) -> None:
        """Open it anew when it is next asked for."""
        with self._lock:
            self._close()

    def close(self) -> None:
        self.forget()
        if self._empty is not None:
            self._empty.cleanup()
            self._empty = None

    @property
    def missing(self) -> bool:
        """Whether it is a file that is not there yet."""
        return self._path is not None and _mark(self._path) is None

    @property
    def _path(self) -> Path | None:
        """Of a SQLite file; None for a database on a server."""
        return file_of(self.url or self.settings.database())

    def _opened(self, mark: Mark) -> Store:
        if self._path is None or mark is not None or not self._missing_is_empty:
            return Store.open(self.settings, self.url, create=False)
        if self._empty is None:  # a file: one in memory has one connection, which requests would share
            self._empty = tempfile.TemporaryDirectory(prefix="joulefarm-page-")
        return Store.open(self.settings, of_file(Path(self._empty.name) / "empty.db"))

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


def _mark(path: Path | None) -> Mark:
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status.st_size else None
