"""``farm db``: bring the database to this version."""

from __future__ import annotations

import click

from farm import database
from farm.cli.options import db_option, emit_json, json_option


@click.group()
def db() -> None:
    """Bring the database to this version."""


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
    with database.opened(db) as store:
        statements = database.grant_worker(store, role)
        name = store.name
    if as_json:
        emit_json({"database": name, "role": role, "statements": statements})
    else:
        click.echo("\n".join(f"{statement};" for statement in statements))
