"""A whole database copied into another one, row by row: the same on SQLite and PostgreSQL, in both directions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Connection, Integer, TableClause, column, func, inspect, select, table, text
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlmodel import SQLModel

# What reading a damaged database raises; the last for texts and documents that are none.
UNREADABLE: Final = (SQLAlchemyError, sqlite3.Error, ValueError)
UNFIT: Final = (IntegrityError, DataError)  # what rows raise that no table takes
BATCH: Final = 500  # rows, of which some hold a power log
FILLED: Final = ("sweep", "job", "measurement", "dataset_row", "fit")  # a database with rows in one of these is in use


def is_used(db: Connection) -> bool:
    """Whether somebody's work is in it."""
    tables = SQLModel.metadata.tables
    return any(db.execute(select(1).select_from(tables[name]).limit(1)).first() for name in FILLED)


def copy(
    source: Connection, target: Connection, *, damaged: Callable[[Exception], Exception] = lambda error: error
) -> dict[str, int]:
    """Make the target's rows those of the source, table by table; rows of each. Both have tables of one version.

    ``damaged`` makes what is raised of an error in reading the source.
    """
    with _reading(damaged):
        tables = _tables(source)
    for plain in reversed(tables):
        target.execute(plain.delete())
    counts = {}
    for plain in tables:
        counts[plain.name] = 0
        for batch in _batches(source, plain, damaged):
            target.execute(plain.insert(), batch)
            counts[plain.name] += len(batch)
    if target.dialect.name == "postgresql":
        _advance_sequences(target)
    return counts


@contextmanager
def _reading(damaged: Callable[[Exception], Exception]) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        raise damaged(error) from error


def _batches(
    source: Connection, plain: TableClause, damaged: Callable[[Exception], Exception]
) -> Iterator[list[dict[str, Any]]]:
    with _reading(damaged):
        rows = source.execution_options(stream_results=True).execute(select(plain)).mappings()
        for batch in rows.partitions(BATCH):
            yield [dict(row) for row in batch]


def _tables(db: Connection) -> list[TableClause]:
    """The tables that the database has, those that others refer to first, with the columns that they have there.

    Without the defaults of this version's columns: a copy has what the source has.
    """
    inspected = inspect(db)
    there = set(inspected.get_table_names())
    tables = []
    for known in SQLModel.metadata.sorted_tables:
        if known.name in there:
            names = {there["name"] for there in inspected.get_columns(known.name)}
            tables.append(table(known.name, *(column(c.name, c.type) for c in known.columns if c.name in names)))
    return tables


def _advance_sequences(db: Connection) -> None:
    """Rows came with their numbers, of which PostgreSQL's sequences know nothing."""
    for known in SQLModel.metadata.sorted_tables:
        keys = [key for key in known.primary_key if isinstance(key.type, Integer)]
        if len(keys) != 1 or len(known.primary_key) != 1:
            continue
        sequence = db.execute(
            text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": known.name, "column": keys[0].name}
        ).scalar()
        if sequence is not None:
            largest = db.execute(select(func.coalesce(func.max(keys[0]), 0))).scalar_one()
            db.execute(text("SELECT setval(:sequence, :value, true)"), {"sequence": sequence, "value": max(1, largest)})
