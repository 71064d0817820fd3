"""The farm's database as commands see it: opened for one command, brought to this version, opened to workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from farm.settings import Settings, load
from farm.store import migrations, roles
from farm.store.engine import Store

__all__ = ["Store", "grant_worker", "opened", "schema_version"]


@contextmanager
def opened(
    db: str | None = None,
    *,
    settings: Settings | None = None,
    create: bool = True,
    missing_is_empty: bool = False,
    default_may_be_missing: bool = False,
) -> Iterator[Store]:
    """The database of ``db``, else of the settings, until the block ends. Raises as ``Store.open`` does.

    Without ``create`` nothing is written to it. A SQLite file that is not there is refused then, unless
    ``missing_is_empty``, or with ``default_may_be_missing`` where nobody named one.
    """
    chosen = settings or load()
    empty = missing_is_empty or (default_may_be_missing and db is None and not chosen.names_database)
    store = Store.open(chosen, db, create=create, missing_is_empty=empty)
    try:
        yield store
    finally:
        store.close()


def upgrade(db: str | None = None) -> str:
    """Make the tables, or bring older ones to this version; the database's name."""
    store = Store.upgrade(load(), db)
    store.close()
    return store.name


def schema_version() -> str:
    """The version of the tables that this code has."""
    return migrations.HEAD


def grant_worker(store: Store, role: str) -> list[str]:
    """Give a PostgreSQL role what a worker needs; the statements. RequestError for a role that cannot be bound."""
    with store.write() as db:
        return roles.grant_worker(db, role)
