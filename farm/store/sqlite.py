"""SQLite: how a file is opened, and how a transaction begins there."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from farm.domain.errors import RequestError
from farm.files.paths import is_folder
from farm.settings import Settings

BUSY_SECONDS: Final = 60.0  # a sweep of 100,000 is written in one transaction of some seconds


def is_new(path: Path) -> bool:
    """Whether a file has no tables yet: it is not there, or empty. RequestError where that cannot be told."""
    try:
        return not path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError as error:
        raise RequestError("database", str(path), f"a file that can be reached ({error.strerror})") from None


def prepare_folder(path: Path, settings: Settings) -> None:
    """Make the farm's home, where the file is to lie there. RequestError for another folder that is not there."""
    if path.resolve().is_relative_to(settings.home.resolve()):
        settings.prepare_home()
    elif not is_folder(path.resolve().parent):
        raise RequestError("database", str(path), "a file in a folder that exists")


def on_connect(connection: Any, _record: Any) -> None:
    """Have a new connection keep what it is told, and leave transactions to us."""
    connection.isolation_level = None  # the driver must not begin transactions by itself
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=FULL")  # an accepted measurement survives a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def on_begin(connection: Connection) -> None:
    """Begin a transaction. IMMEDIATE: one that will write waits at its start and never fails in its middle."""
    read_only = connection.get_execution_options().get("read_only")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def log_ahead(connection: sqlite3.Connection, _record: Any) -> None:
    """Have the file keep a write-ahead log, so that readers and the writer do not wait for each other."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            # SQLite itself does not wait here for another that does the same to a new file.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
