"""Which version a database is of, and how it is brought to this one; what is not joulefarm's is refused."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, Engine, inspect, text
from sqlmodel import SQLModel

from farm.domain.errors import RequestError
from farm.store import migrations

ADVISORY_LOCK: Final = 0x6A6F756C  # "joul": two processes that start at once do not both migrate
VERSION: Final = "alembic_version"  # Alembic's table, which other projects have too
IDENTITY: Final = "farm_identity"  # its one row tells this database from any other, wherever it is reached
OURS: Final = "sweep_job"  # every version of joulefarm has it


def check(engine: Engine, name: str) -> str:
    """The identity of a database whose tables are of this version. Writes nothing.

    RequestError for any other version, and a database of something else.
    """
    if not is_current(engine, name):
        raise RequestError("database", name, "tables of this version: run `farm db upgrade`")
    with engine.connect() as connection:
        connection.execution_options(read_only=True)
        return str(connection.execute(text(f"SELECT id FROM {IDENTITY}")).scalar_one())  # noqa: S608 - a constant


def is_current(engine: Engine, name: str) -> bool:
    """Whether the tables are of this version, rather than of an older one or not there. Writes nothing.

    RequestError for a newer version, and a database of something else.
    """
    with engine.connect() as connection:
        connection.execution_options(read_only=True)
        revision = _revision(connection)
        ours = inspect(connection).has_table(OURS)
        others = [] if ours else sorted(set(inspect(connection).get_table_names()) - {VERSION})
    if others or (revision in migrations.REVISIONS and not ours):
        has = f"it has the table {others[0]}" if others else f"its version is {revision}"
        raise RequestError("database", name, f"not a joulefarm database ({has}): name another, or an empty one")
    if revision is not None and revision not in migrations.REVISIONS:
        raise RequestError(
            "database",
            name,
            f"written by a newer joulefarm (schema {revision}, this one knows {migrations.HEAD}): update joulefarm, "
            "or name another database",
        )
    return revision == migrations.HEAD


def make_empty(engine: Engine) -> None:
    """The tables of this version without a row, in a database that is only read and never kept: without Alembic, whose
    import alone takes longer."""
    with engine.connect() as connection, connection.begin():
        SQLModel.metadata.create_all(connection)


def revision(engine: Engine, name: str) -> str | None:
    """The version of a database's tables; None for one without any. Raises as ``is_current``."""
    if is_current(engine, name):
        return migrations.HEAD
    with engine.connect() as connection:
        connection.execution_options(read_only=True)
        return _revision(connection)


def upgrade(engine: Engine, revision: str = migrations.HEAD) -> None:
    """Make or upgrade the tables, unless another process just did."""
    with engine.connect().execution_options(begin="BEGIN") as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
        if _revision(connection) != revision:
            migrations.upgrade(connection, revision)


def _revision(connection: Connection) -> str | None:
    """The version of the tables; None for a database without any."""
    if not inspect(connection).has_table(VERSION):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION}")).scalar()  # noqa: S608 - a constant
