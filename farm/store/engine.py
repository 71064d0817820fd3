"""The database as an engine and its transactions, SQLite or PostgreSQL; a driver's errors in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import URL, Connection, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import StaticPool

from farm.domain.errors import OperationError, RequestError
from farm.settings import Settings
from farm.store import documents, schema

__all__ = ["Connection", "Store"]

SQLITE_BUSY_SECONDS = 60.0  # a sweep of 100,000 is written in one transaction of some seconds
URL_REMEDY = "sqlite:///PATH or postgresql://USER@HOST/NAME"


class Store:
    """An engine and its transactions."""

    def __init__(self, url: str) -> None:
        self.url = _parse(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"pool_pre_ping": not self.is_sqlite, "json_serializer": documents.dump}
        if self.is_sqlite:
            options["connect_args"] = {"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False}
            if self._in_memory:
                options["poolclass"] = StaticPool
        else:
            options["connect_args"] = {"connect_timeout": 10}
        self.engine = create_engine(self.url, **options)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _on_sqlite_connect)
            event.listen(self.engine, "begin", _on_sqlite_begin)

    @classmethod
    def open(cls, settings: Settings, db: str | None = None, *, create: bool = True) -> Self:
        """A store whose tables are of this version.

        Args:
            settings: says where the database is, unless ``db`` does.
            db: a database URL.
            create: make or upgrade the tables. Without, nothing is written: a SQLite file that is not there reads as
                an empty farm.

        Raises:
            RequestError: no such database, not ours, or of a newer version.
            OperationError: it does not answer.
        """
        store = cls(db or settings.database())
        path = store._path
        if path is not None:
            if not create and not path.exists():
                store.close()
                store, create = cls("sqlite://"), True
            elif create:
                _prepare_folder(path, settings)
        try:
            with store._plain_words():
                current = schema.check(store.engine, store.name, create=create)
                if create and path is not None:
                    store._log_ahead()  # only now: it writes to the file
                if not current:
                    schema.upgrade(store.engine)
        except BaseException:
            store.close()
            raise
        return store

    def _log_ahead(self) -> None:
        """Let readers and the writer of a SQLite file not wait for each other, from the next connection on."""
        self.engine.dispose()
        event.listen(self.engine, "connect", lambda connection, _record: connection.execute("PRAGMA journal_mode=WAL"))

    @property
    def name(self) -> str:
        """The URL without its password."""
        return _shown(self.url)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: all of it, or nothing where an exception leaves it."""
        with self._plain_words(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: never waits for writers on SQLite."""
        with self._plain_words(), self.engine.connect() as connection:
            connection.execution_options(read_only=True)
            yield connection

    def close(self) -> None:
        self.engine.dispose()

    @property
    def _in_memory(self) -> bool:
        return self.is_sqlite and self.url.database in (None, "", ":memory:")

    @property
    def _path(self) -> Path | None:
        return Path(str(self.url.database)) if self.is_sqlite and not self._in_memory else None

    @contextmanager
    def _plain_words(self) -> Iterator[None]:
        """A driver's error as one line that names the database, never its password."""
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            if self.is_sqlite and "readonly" in str(error.orig):
                raise RequestError("database", self.name, "a database that can be written") from error
            raise OperationError(f"database {self.name}: {_first_line(error)}") from error
        except DatabaseError as error:
            if "not a database" in str(error.orig):
                raise RequestError("database", self.name, "a SQLite file of joulefarm") from error
            raise


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() in ("postgres", "postgresql"):
            return parsed.set(drivername="postgresql+psycopg")
        if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
            return parsed
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise RequestError("database URL", url.split("@")[-1], URL_REMEDY) from None
    raise RequestError("database URL", _shown(parsed), URL_REMEDY)


def _shown(url: URL) -> str:
    """Without passwords, which libpq also takes in the query (``password``, ``sslpassword``)."""
    hidden = {key: "***" for key in url.query if "password" in key}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def _prepare_folder(path: Path, settings: Settings) -> None:
    if path.resolve().is_relative_to(settings.home.resolve()):
        settings.prepare_home()
    elif not path.resolve().parent.is_dir():
        raise RequestError("database", str(path), "a file in a folder that exists")


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__


def _on_sqlite_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=FULL")  # an accepted measurement survives a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _on_sqlite_begin(connection: Connection) -> None:
    # IMMEDIATE: a transaction that will write waits at its start and never fails in its middle.
    read_only = connection.get_execution_options().get("read_only")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
