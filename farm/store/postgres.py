"""PostgreSQL: how it is reached, how a transaction begins there, what helps against some of its errors."""

from __future__ import annotations

import logging
import select
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection

from farm.domain.errors import FarmError
from farm.store import address

logger = logging.getLogger(__name__)

# How PostgreSQL is reached, unless the URL says otherwise. A peer that dies without a word is noticed within 15 s.
CONNECT: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # milliseconds
    "prepare_threshold": None,  # see prepare_where_direct
}
# One transaction's patience, in milliseconds, so that one client that hangs cannot stop all. Set within the
# transaction: what is set for a session would be another client's behind a pooler.
PATIENCE: Final = {"lock_timeout": 5_000, "statement_timeout": 60_000, "idle_in_transaction_session_timeout": 30_000}
LOCK_NOT_AVAILABLE: Final = "55P03"  # PostgreSQL's code where lock_timeout has passed
BEGIN: Final = "; ".join(["BEGIN", *(f"SET LOCAL {name} = {value}" for name, value in PATIENCE.items())])

PREPARE_AFTER: Final = 5  # executions, the driver's own default: where nobody stands between us and the server

LATER: Final = {"answer_later": True}  # execution option of a statement whose answer nobody looks at

BEGIN_SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"  # waits for nobody, may take long


def on_begin(connection: Connection) -> None:
    """Begin a transaction. The driver is in autocommit, so that it begins with our words, in one exchange."""
    begin = connection.get_execution_options().get("begin", BEGIN)
    driver: Any = connection.connection.dbapi_connection
    if isinstance(begin, str):
        driver.execute(begin, prepare=False)
        return
    for words in begin:
        driver.execute(words)


def await_answer(connection: Connection, _cursor: Any, _said: Any, _values: Any, context: Any, _many: bool) -> None:
    """In a pipeline, have the answer to a statement there before anybody looks at it."""
    pipeline = connection.get_execution_options().get("pipeline")
    if pipeline is not None and not context.execution_options.get("answer_later"):
        pipeline.sync()


def pipelined(lock_seconds: float | None) -> tuple[str, str]:
    """How a transaction begins where statements are sent without waiting for the answers to those before them."""
    patience = PATIENCE if lock_seconds is None else {**PATIENCE, "lock_timeout": round(1e3 * lock_seconds)}
    return "BEGIN", "SELECT " + ", ".join(f"set_config('{name}', '{value}', true)" for name, value in patience.items())


def prepare_where_direct(connection: Any, _record: Any) -> None:
    """Have statements prepared on the server, unless a pooler stands before it: its next transaction may have another
    session. A pooler is known by its number for our session, which is not the server's."""
    number = connection.execute("SELECT pg_backend_pid()").fetchone()[0]
    if number == connection.info.backend_pid:
        connection.prepare_threshold = PREPARE_AFTER


def has_ended(connection: Connection) -> bool:
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


def connect_as(newest_url: Callable[[], str]) -> Callable[..., None]:
    """Have each connection made as the URL says that is read then; as the one before where it cannot be read now."""
    latest: dict[str, Any] = {}

    def before(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        try:
            url = address.parse(newest_url())
        except FarmError as error:  # its file is written this moment
            logger.warning("the database's URL stays as it was: %s", error)
        else:
            named = {"host": url.host, "port": url.port, "user": url.username, "password": url.password}
            latest.update({name: value for name, value in named.items() if value is not None})
        parameters.update(latest)

    return before


def remedy(error: BaseException | None) -> str:
    """What helps against some of PostgreSQL's errors, by their code."""
    return {
        "42P01": " (`farm db upgrade` makes the tables)",
        "25006": " (a standby? the URL must lead to the primary)",
        "42501": " (`farm db grant-worker` and `farm db grant-reader` grant a role what it needs)",
        LOCK_NOT_AVAILABLE: " (another session holds a lock)",
    }.get(getattr(error, "sqlstate", None) or "", "")
