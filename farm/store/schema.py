"""Brings a database to this version, and refuses one of a newer version."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, inspect, text

from farm import migrations
from farm.domain.errors import RequestError

ADVISORY_LOCK = 0x6A6F756C  # "joul": two processes that start at once do not both migrate


def revision(connection: Connection) -> str | None:
    """The version of the tables; None for a database without any."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def ensure(engine: Engine, name: str, *, create: bool) -> str | None:
    """Make or upgrade the tables; the version that was found. RequestError where that cannot be."""
    with engine.connect() as connection:
        connection.execution_options(read_only=True)
        found = revision(connection)
    if found == migrations.HEAD:
        return found
    if found is not None and found not in migrations.REVISIONS:
        raise RequestError(
            "database",
            name,
            f"written by a newer joulefarm (schema {found}, this one knows {migrations.HEAD}): update joulefarm, "
            "or name another database",
        )
    if not create:
        raise RequestError("database", name, "tables of this version: run `farm db upgrade`")
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
        if revision(connection) != migrations.HEAD:
            migrations.upgrade(connection)
    return found
