"""``farm revoke``: bar a worker's role and end what it has open."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from farm import database
from farm.cli.options import broker_option, db_option, emit_json, json_option
from farm.domain.errors import RequestError
from farm.settings import load


@click.command()
@click.argument("name")
@db_option
@broker_option
@json_option
def revoke(name: str, db: str | None, broker: str | None, as_json: bool) -> None:
    """Bar a role of the database or user of the broker; end its open sessions.

    Both where both have one of that name. Run it as the owner of the database, and of the broker. What the role's
    workers were at goes to others when their leases end.
    """
    from farm.broker.revoke import revoke as revoke_user

    settings = load(database_url=db, broker_url=broker)
    with database.opened(settings=settings, create=False, default_may_be_missing=True) as store:
        ended = database.revoke(store, name)
        known = database.logins(store)
    user = revoke_user(settings, name)
    if ended is None and user is None:
        shown = f"; roles there: {', '.join(known)}" if known else ""
        raise RequestError("NAME", name, f"a role of the database or a user of the broker{shown}")
    document: dict[str, Any] = {
        "name": name,
        "database": None if ended is None else {"barred": True, "sessions_ended": ended},
        "broker": None if user is None else {"barred": True, **asdict(user)},
    }
    if as_json:
        emit_json(document)
        return
    if ended is not None:
        click.echo(f"database: {name} may not log in any more, {ended} session(s) ended")
    if user is not None:
        kept = "" if user.kept else "; until the server starts again, for it has no ACL file: take the user out there"
        click.echo(f"broker: {name} is off, {user.sessions_ended} connection(s) ended{kept}")
