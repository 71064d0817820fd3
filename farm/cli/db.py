"""``farm db``: bring the database to this version."""

from __future__ import annotations

import click

from farm.cli.options import db_option, emit_json, json_option, opened
from farm.store import migrations


@click.group()
def db() -> None:
    """Bring the database to this version."""


@db.command()
@db_option
@json_option
def upgrade(db: str | None, as_json: bool) -> None:
    """Make the tables, or bring older ones up. Harmless when there is nothing to do."""
    with opened(db) as store:
        name = store.name
    if as_json:
        emit_json({"database": name, "schema": migrations.HEAD})
    else:
        click.echo(f"{name}: schema {migrations.HEAD}")


@db.command("grant-worker")
@click.argument("role")
@db_option
@json_option
def grant_worker(role: str, db: str | None, as_json: bool) -> None:
    """Let a PostgreSQL role do what workers do, and nothing else. Run it as the owner, after every upgrade."""
    from farm.store import roles

    with opened(db) as store:
        with store.write() as connection:
            statements = roles.grant_worker(connection, role)
        name = store.name
    if as_json:
        emit_json({"database": name, "role": role, "statements": statements})
    else:
        click.echo("\n".join(f"{statement};" for statement in statements))
