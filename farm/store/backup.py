"""A whole database copied into another one, row by row: the same on SQLite and PostgreSQL, in both directions."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, Integer, func, select, text
from sqlmodel import SQLModel

BATCH: Final = 500  # rows, of which some hold a power log
FILLED: Final = ("sweep", "job", "measurement", "dataset_row", "fit")  # a database with rows in one of these is in use


def is_used(db: Connection) -> bool:
    """Whether somebody's work is in it."""
    tables = SQLModel.metadata.tables
    return any(db.execute(select(1).select_from(tables[name]).limit(1)).first() for name in FILLED)


def copy(source: Connection, target: Connection) -> dict[str, int]:
    """Make the target's rows those of the source, table by table; rows of each. Both have this version's tables."""
    tables = SQLModel.metadata.sorted_tables
    for table in reversed(tables):
        target.execute(table.delete())
    counts = {}
    for table in tables:
        counts[table.name] = 0
        rows = source.execution_options(stream_results=True).execute(select(table)).mappings()
        for batch in rows.partitions(BATCH):
            target.execute(table.insert(), [dict(row) for row in batch])
            counts[table.name] += len(batch)
    if target.dialect.name == "postgresql":
        _advance_sequences(target)
    return counts


def _advance_sequences(db: Connection) -> None:
    """Rows came with their numbers, of which PostgreSQL's sequences know nothing."""
    for table in SQLModel.metadata.sorted_tables:
        keys = [column for column in table.primary_key if isinstance(column.type, Integer)]
        if len(keys) != 1 or len(table.primary_key) != 1:
            continue
        sequence = db.execute(
            text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": table.name, "column": keys[0].name}
        ).scalar()
        if sequence is not None:
            largest = db.execute(select(func.coalesce(func.max(keys[0]), 0))).scalar_one()
            db.execute(text("SELECT setval(:sequence, :value, true)"), {"sequence": sequence, "value": max(1, largest)})
