"""INSERT ... ON CONFLICT, which SQLAlchemy spells once a dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def insert(db: Connection, table: Table) -> Any:
    """An insert that knows on_conflict_do_nothing and on_conflict_do_update."""
    return _INSERT[db.dialect.name](table)


def upsert(db: Connection, table: Table, values: Mapping[str, Any], *, key: str) -> None:
    """Insert a row, or replace the values of the one that has its key."""
    changed = {name: value for name, value in values.items() if name != key}
    db.execute(insert(db, table).values(**values).on_conflict_do_update(index_elements=[key], set_=changed))
