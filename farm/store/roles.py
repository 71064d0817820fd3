"""Roles of PostgreSQL: one that can do what ``farm.jobs`` does for a worker, one that reads; each nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from sqlalchemy import Connection, Table, text

from farm.domain.errors import RequestError
from farm.store import tables as t

# What a worker does to each table; a table that is not here it cannot even read. Names are checked against the tables
# when statements are made, and a test lets a worker work under exactly these.
READS: Final = (
    t.configuration,
    t.job,
    t.attempt,
    t.measurement,
    t.late_measurement,
    t.prompt_list,
    t.worker,
    t.device,
    t.coordinator,
    t.farm_identity,
)
ADDS: Final = (t.attempt, t.measurement, t.measured_row, t.late_measurement, t.samples, t.worker, t.event)
REMOVES: Final = (t.worker,)  # its registration, when it leaves
CHANGES: Final[dict[Table, tuple[str, ...]]] = {
    t.job: (
        "state", "attempt", "tries", "worker", "lease_until", "sent_at", "not_before", "refusals", "reason", "loads",
        "finished_at",
    ),
    t.attempt: ("end", "message", "detail", "ended_at"),
    t.worker: tuple(column.name for column in t.worker.columns if not column.primary_key),
}  # fmt: skip
VERSION_TABLE: Final = "alembic_version"  # read before anything else


def worker_statements(role: str, schema: str) -> Iterator[str]:
    """The grants of a worker, after everything that the role had in that schema is taken away; names quoted already."""
    yield from _anew(role, schema)
    for name in (*(table.name for table in READS), VERSION_TABLE):
        yield f"GRANT SELECT ON {schema}.{name} TO {role}"
    for table in ADDS:
        yield f"GRANT INSERT ON {schema}.{table.name} TO {role}"
    for table, columns in CHANGES.items():
        named = ", ".join(f'"{table.c[column].name}"' for column in columns)
        yield f"GRANT UPDATE ({named}) ON {schema}.{table.name} TO {role}"
    for table in REMOVES:
        yield f"GRANT DELETE ON {schema}.{table.name} TO {role}"
    yield f"GRANT USAGE ON SEQUENCE {schema}.{t.attempt.name}_id_seq TO {role}"


def reader_statements(role: str, schema: str) -> Iterator[str]:
    """The grants of a reader, likewise."""
    yield from _anew(role, schema)
    yield f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}"


def _anew(role: str, schema: str) -> Iterator[str]:
    yield f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role}"
    yield f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA {schema} FROM {role}"
    yield f"REVOKE ALL ON SCHEMA {schema} FROM {role}"
    yield f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC"  # PostgreSQL before 15 lets anybody create tables there
    yield f"GRANT USAGE ON SCHEMA {schema} TO {role}"


def grant_worker(db: Connection, role: str) -> list[str]:
    """Give a role what a worker needs; the statements. RequestError for a role that is not there or could do more."""
    return _grant(db, role, worker_statements)


def grant_reader(db: Connection, role: str) -> list[str]:
    """Let a role read everything; the statements. RequestError likewise."""
    return _grant(db, role, reader_statements)


def _grant(db: Connection, role: str, statements: Callable[[str, str], Iterator[str]]) -> list[str]:
    if db.dialect.name != "postgresql":
        raise RequestError("database", db.dialect.name, "PostgreSQL: a SQLite file has no roles, only permissions")
    if not db.execute(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}).scalar():
        raise RequestError("ROLE", role, "a role of that server: CREATE ROLE ... LOGIN PASSWORD ... makes one")
    owns = text(
        "SELECT bool_or(pg_has_role(:role, tableowner, 'MEMBER')) FROM pg_tables WHERE schemaname = current_schema()"
    )
    if db.execute(owns, {"role": role}).scalar():
        raise RequestError("ROLE", role, "neither the owner of the tables nor a superuser: grants do not bind those")
    quote = db.dialect.identifier_preparer.quote_identifier
    schema = str(db.execute(text("SELECT current_schema()")).scalar_one())
    made = list(statements(quote(role), quote(schema)))
    for statement in made:
        db.execute(text(statement.replace(":", r"\:")))
    return made


def bar(db: Connection, role: str) -> bool:
    """Let a role not log in any more; False where there is none of that name.

    RequestError for one that the farm itself works as, or that may do everything: it would bar itself, or in vain.
    """
    if db.dialect.name != "postgresql":
        return False
    known = db.execute(
        text("SELECT rolsuper, rolname IN (current_user, session_user) AS self FROM pg_roles WHERE rolname = :role"),
        {"role": role},
    ).first()
    if known is None:
        return False
    if known.rolsuper or known.self:
        raise RequestError("NAME", role, "a worker's role: neither a superuser nor the one that asks")
    quoted = db.dialect.identifier_preparer.quote_identifier(role)
    db.execute(text(f"ALTER ROLE {quoted} NOLOGIN".replace(":", r"\:")))
    return True


def end_sessions(db: Connection, role: str) -> int:
    """End every session that a role has open; how many."""
    ended = text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = :role")
    return int(db.execute(ended, {"role": role}).scalar_one())


def logins(db: Connection) -> list[str]:
    """Roles that may log in."""
    if db.dialect.name != "postgresql":
        return []
    return list(db.execute(text("SELECT rolname FROM pg_roles WHERE rolcanlogin ORDER BY rolname")).scalars())
