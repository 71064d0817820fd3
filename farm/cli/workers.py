"""``farm workers``: who works on what; ask them to finish and stop."""

from __future__ import annotations

import click

from farm.cli.options import db_option, emit_json, json_option
from farm.database import opened
from farm.domain import RequestError
from farm.domain.text import one_line
from farm.hosts import Hosts


@click.group()
def workers() -> None:
    """List and drain workers."""


@workers.command("list")
@db_option
@json_option
def list_(db: str | None, as_json: bool) -> None:
    """Every registered worker, what it does, and since when it is silent."""
    with opened(db, create=False) as store:
        hosts = Hosts(store)
        if as_json:
            emit_json(hosts.document())
            return
        workers, coordinator, waiting = hosts.workers(), hosts.coordinator(), hosts.waiting()
    for info in workers:
        state = info.state if info.alive else "silent"
        job = f"job {info.job_id}" if info.job_id else ""
        notes = [job, f"{info.spool_waiting} in spool" if info.spool_waiting else ""]
        notes.append("asked to drain" if info.drain_requested else "")
        note = ", ".join(filter(None, notes))
        line = f"{one_line(info.name):32} {info.gpu:12} {state:9} seen {info.silent_seconds:.0f} s ago  {note}"
        click.echo(line.rstrip())
    if not workers:
        click.echo("no workers; `farm worker --gpu TYPE --device N` starts one, `farm up` a whole farm")
    if not coordinator.alive:
        click.echo(str(coordinator))
    for row in waiting:
        if row.stuck:
            click.echo(f"{row.count} job(s) on {row.gpu} wait: {one_line(row.why)}")


@workers.command()
@click.argument("name", required=False)
@db_option
@json_option
def drain(name: str | None, db: str | None, as_json: bool) -> None:
    """Ask worker NAME, or all, to finish the job at hand and stop."""
    with opened(db, create=False) as store:
        hosts = Hosts(store)
        asked = hosts.request_drain(name)
        if name is not None and not asked:
            known = ", ".join(info.name for info in hosts.workers()) or "no worker is registered"
            raise RequestError("worker", name, f"known: {known}")
    if as_json:
        emit_json({"asked": asked})
    else:
        click.echo(f"{asked} {'worker' if asked == 1 else 'workers'} asked to drain")
