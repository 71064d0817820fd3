"""``farm events``: what happened that somebody wants to be told of, and whether it reached them."""

from __future__ import annotations

import click

from farm.cli.options import db_option, emit_json, json_option
from farm.database import opened
from farm.domain.errors import OperationError, RequestError
from farm.domain.text import one_line
from farm.settings import load


@click.group()
def events() -> None:
    """List events; send one to try the receivers."""


@events.command("list")
@click.option("--limit", type=click.IntRange(1, 10000), default=50, show_default=True, help="The newest so many.")
@db_option
@json_option
def list_(limit: int, db: str | None, as_json: bool) -> None:
    """The newest events: when, what, and whether the receivers of FARM_EVENTS_URLS have it."""
    from farm.events import listing

    with opened(db, create=False) as store:
        rows = listing(store, limit)
    if as_json:
        emit_json({"events": rows})
        return
    for row in rows:
        sent = "sent" if row["sent_at"] else f"not sent: {one_line(row['error'])}" if row["error"] else "not sent"
        click.echo(f"{row['at']}  {row['kind']:16} {sent:8}  {one_line(row['text'])}")
    if not rows:
        click.echo("no events yet")


@events.command()
@json_option
def test(as_json: bool) -> None:
    """Send an event to every receiver now. Exit 1 where one did not take it."""
    import uuid

    from farm.domain.event import EventKind, event_id
    from farm.receivers import SETTING, Receivers

    receivers = Receivers.of(load())
    if receivers is None:
        raise RequestError(SETTING, None, "URLs of receivers (or FARM_EVENTS_URLS_FILE, a file that holds them)")
    row = {
        "id": event_id(EventKind.TEST, uuid.uuid4().hex),
        "kind": str(EventKind.TEST),
        "text": "a test: this receiver is told of events",
    }
    took, error = receivers.send([row])
    if as_json:
        emit_json({"event": row["id"], "receivers": len(receivers.all), "took": len(took), "error": error})
    if error is not None:
        raise OperationError(error)
    if not as_json:
        click.echo(f"taken by {', '.join(receiver.label for receiver in receivers.all)}")
