"""The database as an engine and its transactions, SQLite or PostgreSQL; a driver's errors in plain words."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, RootTransaction, create_engine, event
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.pool import StaticPool

from farm.domain.documents import json_text
from farm.domain.errors import OperationError, RequestError
from farm.settings import Settings
from farm.store import address, migrations, postgres, schema, sqlite

__all__ = ["Connection", "RowLocked", "Store"]

logger = logging.getLogger(__name__)

STORABLE = "text without NUL, that UTF-8 can spell: no database takes another"


class RowLocked(OperationError):
    """Somebody else's transaction held a row for longer than we wait for one."""


class Store:
    """An engine and its transactions.

    Args:
        url: of the database.
        newest_url: asked for the URL whenever a connection is made: a file may hold another password by then.
    """

    def __init__(self, url: str, newest_url: Callable[[], str] | None = None) -> None:
        self.url = address.parse(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.identity: str | None = None  # of the database: a connection to any other is refused
        options: dict[str, Any] = {"json_serializer": json_text}
        if self.is_sqlite:
            options["connect_args"] = {"timeout": sqlite.BUSY_SECONDS, "check_same_thread": False}
            if self._in_memory:
                options["poolclass"] = StaticPool
        else:
            options["connect_args"] = {
                **postgres.CONNECT,
                **address.options(self.url),
                "autocommit": True,
            }  # see postgres.on_begin
        self.engine = create_engine(self.url.set(query={}) if not self.is_sqlite else self.url, **options)
        if self.is_sqlite:
            event.listen(self.engine, "connect", sqlite.on_connect)
            event.listen(self.engine, "begin", sqlite.on_begin)
        else:
            event.listen(self.engine, "begin", postgres.on_begin)
            event.listen(self.engine, "after_cursor_execute", postgres.await_answer)
            event.listen(self.engine, "connect", self._check_identity)
            if "prepare_threshold" not in self.url.query:
                event.listen(self.engine, "connect", postgres.prepare_where_direct)
            if newest_url is not None:
                event.listen(self.engine, "do_connect", postgres.connect_as(newest_url))

    @classmethod
    def open(
        cls,
        settings: Settings,
        db: str | None = None,
        *,
        create: bool = True,
        missing_is_empty: bool = False,
        any_version: bool = False,
    ) -> Self:
        """A store whose tables are of this version. Only ``upgrade`` changes tables.

        Args:
            settings: says where the database is, unless ``db`` does.
            db: a database URL.
            create: make a SQLite file that is not there. The tables of PostgreSQL are made by ``upgrade``.
            missing_is_empty: read a SQLite file that is not there as an empty farm, rather than refuse it.
            any_version: an earlier version's tables will do, for whoever only copies them.

        Raises:
            RequestError: no such database, not ours, or of another version.
            OperationError: it does not answer.
        """
        store = cls(db or settings.database(), None if db else settings.database)
        path = store._path
        new = path is not None and sqlite.is_new(path)
        if new and not create:
            store.close()
            if not missing_is_empty:
                remedy = "a file that is there: nothing was submitted yet, the first command that writes makes it"
                raise RequestError("database", str(path), remedy)
            store = cls("sqlite://")
            schema.make_empty(store.engine)
            return store
        if new:
            store._upgrade(settings)
            return store
        try:
            with store._plain_words():
                if not (any_version and store.revision() is not None):
                    store.identity = schema.check(store.engine, store.name)
                if create and path is not None:
                    store._log_ahead()  # only now: it writes to the file
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def upgrade(cls, settings: Settings, db: str | None = None, revision: str = migrations.HEAD) -> Self:
        """A store whose tables were made, or brought to this version where they were older. Raises as ``open`` does.

        An earlier ``revision`` is for copies of a database that has it.
        """
        store = cls(db or settings.database(), None if db else settings.database)
        store._upgrade(settings, revision)
        return store

    def revision(self) -> str | None:
        """The version of its tables; None where it has none. Raises as ``open`` does."""
        return schema.revision(self.engine, self.name)

    def _upgrade(self, settings: Settings, revision: str = migrations.HEAD) -> None:
        try:
            if self._path is not None:
                sqlite.prepare_folder(self._path, settings)
            with self._plain_words():
                current = schema.is_current(self.engine, self.name)
                if self._path is not None:
                    self._log_ahead()
                if not current:
                    schema.upgrade(self.engine, revision)
                if revision == migrations.HEAD:
                    self.identity = schema.check(self.engine, self.name)
        except BaseException:
            self.close()
            raise

    def _log_ahead(self) -> None:
        """Let readers and the writer of a SQLite file not wait for each other, from the next connection on."""
        self.engine.dispose()
        event.listen(self.engine, "connect", sqlite.log_ahead)

    def _check_identity(self, connection: Any, _record: Any) -> None:
        """Refuse a new connection that leads to another database than the one that was opened."""
        if self.identity is None:
            return
        row = connection.execute(f"SELECT id FROM {schema.IDENTITY}").fetchone()  # noqa: S608 - a constant
        if row is None or row[0] != self.identity:
            raise OperationError(f"database {self.name}: not the one it was: waiting for that to come back")

    @property
    def name(self) -> str:
        """The URL without its password."""
        return address.shown(self.url)

    @contextmanager
    def write(self, *, lock_seconds: float | None = None) -> Iterator[Connection]:
        """A transaction: all of it, or nothing where an exception leaves it.

        ``lock_seconds``: of patience with whoever holds a row, on PostgreSQL, instead of the usual; then RowLocked.
        """
        with self._plain_words(), self.engine.connect() as connection:
            if lock_seconds is not None:
                patience = f"; SET LOCAL lock_timeout = {round(1e3 * lock_seconds)}"
                connection.execution_options(begin=postgres.BEGIN + patience)
            with self._begun(connection):
                yield connection

    @contextmanager
    def exchange(self, *, lock_seconds: float | None = None) -> Iterator[Connection]:
        """A transaction like ``write``'s with fewer exchanges with the server, each of which may cross a slow network.

        PostgreSQL's answers to the beginning and to statements with the option ``LATER`` come with that to the next
        other statement, or to the end of the transaction. What such a statement refuses is raised there.
        """
        if self.is_sqlite:
            with self.write() as connection:
                yield connection
            return
        with self._plain_words(), self.engine.connect() as connection:
            begin = postgres.pipelined(lock_seconds)
            if postgres.has_ended(connection):
                self._leave(connection)
            driver: Any = connection.connection.dbapi_connection
            try:
                with driver.pipeline() as pipeline:
                    connection.execution_options(begin=begin, pipeline=pipeline)
                    transaction = connection.begin()
                    yield connection
                    driver.execute("COMMIT")  # its answer is the last that the pipeline waits for
            except self._driver_error:
                connection.invalidate()
                self.engine.dispose()  # those that wait died with it
                raise
            transaction.commit()  # nothing is left to be said

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads: never waits for writers on SQLite."""
        with self._plain_words(), self.engine.connect() as connection:
            connection.execution_options(read_only=True)
            with self._begun(connection):
                yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A transaction that reads everything as it is at one moment, however long it takes."""
        with self._plain_words(), self.engine.connect() as connection:
            # SQLite's reads are such anyway.
            connection.execution_options(read_only=True, begin=postgres.BEGIN_SNAPSHOT)
            with self._begun(connection):
                yield connection

    def _begun(self, connection: Connection) -> RootTransaction:
        """Begin a transaction; on a new connection where the pool's died meanwhile, which the first word shows."""
        try:
            return connection.begin()
        except self._driver_error:
            self._leave(connection)
        try:
            return connection.begin()
        except self._driver_error:
            connection.invalidate()  # nothing more is said to it, a goodbye neither
            raise

    def _leave(self, connection: Connection) -> None:
        """Give up a session that has died, so that the next word is said on a new one."""
        connection.invalidate()
        if not self.is_sqlite:
            logger.warning("database %s: a session has ended there: connecting anew", self.name)
            self.engine.dispose()  # those that wait died with it

    @property
    def _driver_error(self) -> type[Exception]:
        """The driver's own errors, as they come from where SQLAlchemy does not wrap them."""
        return self.engine.dialect.loaded_dbapi.Error

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
        except UnicodeEncodeError as error:  # half a character, as of a name on a command line that is no UTF-8
            raise RequestError("text", error.object, STORABLE) from error
        except (IntegrityError, DataError) as error:  # a fault of ours, not of the database
            if (text := _text_with_nul(error)) is not None:
                raise RequestError("text", text, STORABLE) from error
            raise
        except DBAPIError as error:
            said = str(error.orig)
            if self.is_sqlite and "readonly" in said:
                raise RequestError("database", self.name, "a database that can be written") from error
            if self.is_sqlite and "not a database" in said:
                raise RequestError("database", self.name, "a SQLite file of joulefarm") from error
            raise self._away(error.orig) from error
        except UnicodeDecodeError as error:  # a damaged file, of which SQLite's own words repeat a part
            raise self._away(error) from error
        except self._driver_error as error:
            driver = self.engine.dialect.loaded_dbapi
            if isinstance(error, (driver.IntegrityError, driver.DataError)):
                raise
            raise self._away(error) from error

    def _away(self, error: BaseException | None) -> OperationError:
        locked = getattr(error, "sqlstate", None) == postgres.LOCK_NOT_AVAILABLE
        said = f"database {self.name}: {_first_line(error)}{postgres.remedy(error)}"
        return RowLocked(said) if locked else OperationError(said)


def _first_line(error: BaseException | None) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _text_with_nul(error: DBAPIError) -> str | None:
    """The parameter of a statement that PostgreSQL cannot hold, for it has a NUL; None where there is none."""
    given = error.params or ()
    values = given.values() if isinstance(given, Mapping) else given
    return next((value for value in values if isinstance(value, str) and "\0" in value), None)
