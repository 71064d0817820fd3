"""The farm's database as commands see it: opened for one command, upgraded, granted to workers, backed up."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from farm.domain import FarmError, RequestError
from farm.domain.text import one_line
from farm.files.atomic import atomic_write
from farm.files.paths import is_file
from farm.settings import Settings, load
from farm.store import backup as copies
from farm.store import migrations, roles, sweeps
from farm.store.engine import Store
from farm.sweeps import stamps
from farm.urls import of_file

__all__ = ["Store", "backup", "grant_reader", "grant_worker", "opened", "restore", "schema_version", "upgrade"]


@contextmanager
def opened(
    db: str | None = None,
    *,
    settings: Settings | None = None,
    create: bool = True,
    missing_is_empty: bool = False,
    default_may_be_missing: bool = False,
    any_version: bool = False,
) -> Iterator[Store]:
    """The database of ``db``, else of the settings, until the block ends. Raises as ``Store.open`` does.

    ``any_version`` takes tables of an earlier version, too, to copy them. Without ``create`` nothing is written to it.
    A SQLite file that is not there is refused then, unless ``missing_is_empty``, or with ``default_may_be_missing``
    where nobody named one.
    """
    chosen = settings or load()
    empty = missing_is_empty or (default_may_be_missing and db is None and not chosen.names_database)
    store = Store.open(chosen, db, create=create, missing_is_empty=empty, any_version=any_version)
    try:
        yield store
    finally:
        store.close()


def upgrade(db: str | None = None) -> str:
    """Make the tables, or bring older ones to this version; the database's name."""
    store = Store.upgrade(load(), db)
    try:
        _renew_stamps(store)
    finally:
        store.close()
    return store.name


def _renew_stamps(store: Store) -> None:
    """Offer what an earlier version queued: its entries of the catalog, and how it named them, were others."""
    with store.write() as db:
        for sweep_id in sweeps.open_ids(db):
            stamps.renew(db, sweep_id)


def backup(store: Store, path: Path) -> dict[str, int]:
    """Everything in the database as it is now, as a SQLite file, whole or not at all; rows of each table.

    The farm may go on meanwhile, and may be of an earlier version: its copy is of that version, too. RequestError where
    the file cannot be written.
    """
    with atomic_write(path, "file") as file:
        file.unlink()
        target = Store.upgrade(load(), of_file(file), store.revision() or migrations.HEAD)
        try:
            with store.snapshot() as source, target.write() as db:
                return copies.copy(source, db)
        finally:
            target.close()


def restore(path: Path, db: str | None = None) -> tuple[str, dict[str, int]]:
    """Fill an empty database from a backup, also one of an earlier version; its name, and rows of each table.

    RequestError for a file that is no backup, and for a database that somebody's work is in.
    """
    if not is_file(path):
        raise RequestError("file", str(path), "a file that `farm db backup` wrote")

    def damaged(error: Exception) -> RequestError:
        why = str(getattr(error, "orig", None) or error).replace(of_file(copied), path.name)
        return RequestError("file", str(path), f"a file that `farm db backup` wrote, undamaged ({one_line(why, 300)})")

    settings = load()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        copied = Path(folder) / "backup.db"  # upgrading must not touch the backup
        try:
            shutil.copyfile(path, copied)
            source = stack.enter_context(closing(Store.upgrade(settings, of_file(copied))))
        except (OSError, FarmError, *copies.UNREADABLE) as error:
            raise damaged(error) from error
        target = stack.enter_context(closing(Store.upgrade(settings, db)))
        try:
            with source.snapshot() as rows, target.write() as connection:
                if copies.is_used(connection):
                    raise RequestError(
                        "database", target.name, "one without sweeps or measurements: nothing is replaced"
                    )
                copied_rows = copies.copy(rows, connection, damaged=damaged)
        except copies.UNFIT as error:
            raise damaged(error) from error
        _renew_stamps(target)
        return target.name, copied_rows


def schema_version() -> str:
    """The version of the tables that this code has."""
    return migrations.HEAD


def grant_worker(store: Store, role: str) -> list[str]:
    """Give a PostgreSQL role what a worker needs; the statements. RequestError for a role that cannot be bound."""
    with store.write() as db:
        return roles.grant_worker(db, role)


def grant_reader(store: Store, role: str) -> list[str]:
    """Let a PostgreSQL role read everything, change nothing; the statements. RequestError as for ``grant_worker``."""
    with store.write() as db:
        return roles.grant_reader(db, role)


def revoke(store: Store, role: str) -> int | None:
    """Bar a role from the database and end its open sessions; how many, None where there is no such role.

    Barred first, for good: a session that is ended must not come back in between.
    """
    with store.write() as db:
        known = roles.bar(db, role)
    if not known:
        return None
    with store.write() as db:
        return roles.end_sessions(db, role)


def logins(store: Store) -> list[str]:
    """Roles that may log in to the database; none on SQLite."""
    with store.read() as db:
        return roles.logins(db)
