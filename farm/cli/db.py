"""``farm db``: the database upgraded, backed up, restored, opened to workers and readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from farm import database
from farm.cli.options import db_option, emit_json, json_option


@click.group()
def db() -> None:
    """Upgrade the database, back it up, restore it, open it to workers and readers."""


@db.command()
@db_option
@json_option
def upgrade(db: str | None, as_json: bool) -> None:
    """Make the tables, or bring older ones up. Harmless when there is nothing to do."""
    name = database.upgrade(db)
    if as_json:
        emit_json({"database": name, "schema": database.schema_version()})
    else:
        click.echo(f"{name}: schema {database.schema_version()}")


@db.command("grant-worker")
@click.argument("role")
@db_option
@json_option
def grant_worker(role: str, db: str | None, as_json: bool) -> None:
    """Let a PostgreSQL role do what workers do, and nothing else. Run it as the owner, after every upgrade."""
    _granted(role, database.grant_worker, db, as_json)


@db.command("grant-reader")
@click.argument("role")
@db_option
@json_option
def grant_reader(role: str, db: str | None, as_json: bool) -> None:
    """Let a PostgreSQL role read everything and change nothing: for `farm serve`. Again after every upgrade."""
    _granted(role, database.grant_reader, db, as_json)


def _granted(role: str, grant: Callable[[database.Store, str], list[str]], db: str | None, as_json: bool) -> None:
    with database.opened(db) as store:
        statements = grant(store, role)
        name = store.name
    if as_json:
        emit_json({"database": name, "role": role, "statements": statements})
    else:
        click.echo("\n".join(f"{statement};" for statement in statements))


@db.command()
@click.argument("file", type=click.Path(path_type=Path))
@db_option
@json_option
def backup(file: Path, db: str | None, as_json: bool) -> None:
    """Write everything in the database to FILE, as it is at one moment; the farm may go on.

    A database of an earlier version is taken as it is: before `farm db upgrade`.
    """
    with database.opened(db, create=False, any_version=True) as store:
        counts = database.backup(store, file)
        name = store.name
    _copied({"database": name, "file": str(file), "rows": counts}, as_json)


@db.command()
@click.argument("file", type=click.Path(path_type=Path))
@db_option
@json_option
def restore(file: Path, db: str | None, as_json: bool) -> None:
    """Fill an empty database from FILE, which `farm db backup` wrote, on SQLite or PostgreSQL."""
    name, counts = database.restore(file, db)
    _copied({"database": name, "file": str(file), "rows": counts}, as_json)


def _copied(document: dict[str, Any], as_json: bool) -> None:
    if as_json:
        emit_json(document)
    else:
        counts = document["rows"]
        click.echo(f"{document['database']}, {document['file']}: {counts['measurement']} measurements, "
                   f"{counts['job']} jobs, {counts['dataset_row']} imported rows")  # fmt: skip
