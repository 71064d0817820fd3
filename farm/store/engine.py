"""The database as an engine and its transactions, SQLite or PostgreSQL; a driver's errors in plain words."""

from __future__ import annotations

import logging
import select
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import Connection, RootTransaction, create_engine, event
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.pool import StaticPool

from farm.domain.errors import OperationError, RequestError
from farm.settings import Settings
from farm.store import address, documents, migrations, schema

__all__ = ["Connection", "RowLocked", "Store"]

logger = logging.getLogger(__name__)

SQLITE_BUSY_SECONDS: Final = 60.0  # a sweep of 100,000 is written in one transaction of some seconds
# How PostgreSQL is reached, unless the URL says otherwise. A peer that dies without a word is noticed within 15 s.
CONNECT: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
    "prepare_threshold": None,  # see _prepare_where_direct
}
# One transaction's patience, in milliseconds, so that one client that hangs cannot stop all. Set within the
# transaction: what is set for a session would be another client's behind a pooler.
PATIENCE: Final = {"lock_timeout": 5_000, "statement_timeout": 60_000, "idle_in_transaction_session_timeout": 30_000}
LOCK_NOT_AVAILABLE: Final = "55P03"  # PostgreSQL's code where lock_timeout has passed
_BEGIN: Final = "; ".join(["BEGIN", *(f"SET LOCAL {name} = {value}" for name, value in PATIENCE.items())])

PREPARE_AFTER: Final = 5  # executions, the driver's own default: where nobody stands between us and the server

LATER: Final = {"answer_later": True}  # execution option of a statement whose answer nobody looks at

_BEGIN_SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"  # waits for nobody, may take long


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
        options: dict[str, Any] = {"json_serializer": documents.dump}
        if self.is_sqlite:
            options["connect_args"] = {"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False}
            if self._in_memory:
                options["poolclass"] = StaticPool
        else:
            options["connect_args"] = {
                **CONNECT,
                **address.options(self.url),
                "autocommit": True,
            }  # see _on_postgres_begin
        self.engine = create_engine(self.url.set(query={}) if not self.is_sqlite else self.url, **options)
        if self.is_sqlite:
            event.listen(self.engine, "connect", _on_sqlite_connect)
            event.listen(self.engine, "begin", _on_sqlite_begin)
        else:
            event.listen(self.engine, "begin", _on_postgres_begin)
            event.listen(self.engine, "after_cursor_execute", _await_answer)
            event.listen(self.engine, "connect", self._check_identity)
            if "prepare_threshold" not in self.url.query:
                event.listen(self.engine, "connect", _prepare_where_direct)
            if newest_url is not None:
                event.listen(self.engine, "do_connect", _connect_as(newest_url))

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
        new = path is not None and (not path.exists() or not path.stat().st_size)
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
                _prepare_folder(self._path, settings)
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
        event.listen(self.engine, "connect", _log_ahead)

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
                connection.execution_options(begin=_BEGIN + patience)
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
            begin = _pipelined(lock_seconds)
            if _is_torn(connection):
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
            connection.execution_options(read_only=True, begin=_BEGIN_SNAPSHOT)  # SQLite's reads are such anyway
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
        except (IntegrityError, DataError):  # a fault of ours, not of the database
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
        kind = RowLocked if getattr(error, "sqlstate", None) == LOCK_NOT_AVAILABLE else OperationError
        return kind(f"database {self.name}: {_first_line(error)}{_remedy(error)}")


def _pipelined(lock_seconds: float | None) -> tuple[str, str]:
    """How a transaction begins where statements are sent without waiting for the answers to those before them."""
    patience = PATIENCE if lock_seconds is None else {**PATIENCE, "lock_timeout": round(1e3 * lock_seconds)}
    return "BEGIN", "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in patience.items())


def _prepare_where_direct(connection: Any, _record: Any) -> None:
    """Have statements prepared on the server, unless a pooler stands before it: its next transaction may have another
    session. A pooler is known by its number for our session, which is not the server's."""
    number = connection.execute("SELECT pg_backend_pid()").fetchone()[0]
    if number == connection.info.backend_pid:
        connection.prepare_threshold = PREPARE_AFTER


def _is_torn(connection: Connection) -> bool:
    """Whether the server has ended a session of the pool, as far as is known here: nothing is asked of it."""
    driver: Any = connection.connection.dbapi_connection
    said = select.poll()
    try:
        said.register(driver.fileno(), select.POLLIN)
        while said.poll(0):  # a last word, perhaps, and the end, which raises
            driver.pgconn.consume_input()
    except driver.OperationalError:
        return True
    return False


def _remedy(error: BaseException | None) -> str:
    """What helps against some of PostgreSQL's errors, by their code."""
    return {
        "42P01": " (`farm db upgrade` makes the tables)",
        "25006": " (a standby? the URL must lead to the primary)",
        "42501": " (`farm db grant-worker` and `farm db grant-reader` grant a role what it needs)",
        LOCK_NOT_AVAILABLE: " (another session holds a lock)",
    }.get(getattr(error, "sqlstate", None) or "", "")


def _connect_as(newest_url: Callable[[], str]) -> Callable[..., None]:
    """Have each connection made as the URL says that is read then."""

    def before(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        url = address.parse(newest_url())
        named = {"host": url.host, "port": url.port, "user": url.username, "password": url.password}
        parameters.update({name: value for name, value in named.items() if value is not None})

    return before


def _prepare_folder(path: Path, settings: Settings) -> None:
    if path.resolve().is_relative_to(settings.home.resolve()):
        settings.prepare_home()
    elif not path.resolve().parent.is_dir():
        raise RequestError("database", str(path), "a file in a folder that exists")


def _first_line(error: BaseException | None) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _on_sqlite_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not begin transactions by itself
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=FULL")  # an accepted measurement survives a power cut
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _log_ahead(connection: sqlite3.Connection, _record: Any) -> None:
    until = time.monotonic() + SQLITE_BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            # SQLite itself does not wait here for another that does the same to a new file.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _on_postgres_begin(connection: Connection) -> None:
    # The driver is in autocommit, so that the transaction begins with our words, in one exchange with the server.
    begin = connection.get_execution_options().get("begin", _BEGIN)
    driver: Any = connection.connection.dbapi_connection
    if isinstance(begin, str):
        driver.execute(begin, prepare=False)
        return
    for words in begin:
        driver.execute(words)


def _await_answer(connection: Connection, _cursor: Any, _said: Any, _values: Any, context: Any, _many: bool) -> None:
    """In a pipeline, have the answer to a statement there before anybody looks at it."""
    pipeline = connection.get_execution_options().get("pipeline")
    if pipeline is not None and not context.execution_options.get("answer_later"):
        pipeline.sync()


def _on_sqlite_begin(connection: Connection) -> None:
    # IMMEDIATE: a transaction that will write waits at its start and never fails in its middle.
    read_only = connection.get_execution_options().get("read_only")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
