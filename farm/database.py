"""The farm's database as commands see it: opened for one command, brought to this version, opened to workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from farm.settings import Settings, load
from farm.store import migrations, roles
from farm.store.engine import Store

__all__ = ["Store", "grant_worker", "opened", "schema_version"]


@contextmanager
def opened(db: str | None = None, *, settings: Settings | None = None, create: bool = True) -> Iterator[Store]:
    """The database of ``db``, else of the settings, until the block ends. Raises as ``Store.open`` does.

    Without ``create`` nothing is written to it, and one that is not there reads as empty.
    """
    store = Store.open(settings or load(), db, create=create)
    try:
        yield store
    finally:
        store.close()


def schema_version() -> str:
    """The version of the tables that this code has."""
    return migrations.HEAD


def grant_worker(store: Store, role: str) -> list[str]:
    """Give a PostgreSQL role what a worker needs; the statements. RequestError for a role that cannot be bound."""
    with store.write() as db:
        return roles.grant_worker(db, role)
