"""``farm sweep``: submit a grid, see how far it is, hold it, end it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import click

from farm.cli.completion import complete_sweep
from farm.cli.options import FiniteRange, db_option, emit_json, json_option
from farm.database import Store, opened
from farm.domain import RequestError
from farm.domain.job import PRIORITIES
from farm.domain.words import joules_text, with_prefix
from farm.domain.words import seconds as duration
from farm.sweeps import control
from farm.sweeps.adaptive import Goal
from farm.sweeps.adaptive import submit as submit_adaptive
from farm.sweeps.read import read_spec
from farm.sweeps.submit import submit as submit_sweep

PRIORITY: Final = click.IntRange(*PRIORITIES)


@click.group()
def sweep() -> None:
    """Submit and watch sweeps."""


@sweep.command()
@click.argument("spec", metavar="SPEC.yaml", type=click.Path())
@click.option("--dry-run", is_flag=True, help="Check and count; write nothing.")
@click.option("--priority", default=0, show_default=True, type=PRIORITY, help="Jobs of a larger number run first.")
@click.option("--adaptive", is_flag=True, help="Measure only what the law needs of it; with --target-error.")
@click.option(
    "--target-error", type=FiniteRange(), metavar="P", help="Expected error of all else, per cent, to end at."
)
@click.option(
    "--joules", type=FiniteRange(min=0, min_open=True), metavar="J", help="End where J joules would be passed."
)
@click.option("--hours", type=FiniteRange(min=0, min_open=True), metavar="H", help="Likewise of hours on devices.")
@db_option
@json_option
def submit(
    spec: str,
    dry_run: bool,
    priority: int,
    adaptive: bool,
    target_error: float | None,
    joules: float | None,
    hours: float | None,
    db: str | None,
    as_json: bool,
) -> None:
    """Queue every configuration of SPEC.yaml that is not measured yet.

    It is a file, - for the standard input, or the name of a sweep that ships: demo, paper or showcase.

    With --adaptive the coordinator queues a few at a time, as results come, until the error that the law expects of all
    others meets the target.
    """
    goal = _goal(adaptive, target_error, joules, hours)
    checked = read_spec(spec)
    with opened(db, create=not dry_run, missing_is_empty=dry_run) as store:
        if goal is None:
            result = submit_sweep(store, checked, priority=priority, dry_run=dry_run)
        else:
            result = submit_adaptive(store, checked, goal, priority=priority, dry_run=dry_run)
    forecast = result.forecast or {}
    if forecast.get("exceeds_deadline"):
        when, takes = f"{checked.deadline:%Y-%m-%d %H:%MZ}", duration(forecast["seconds"])
        click.echo(f"farm: deadline {when}: too early, for by the forecast the sweep takes {takes}", err=True)
    if as_json:
        emit_json(result.to_dict())
        return
    head = "dry run" if result.sweep is None else f"sweep {result.sweep}"
    click.echo(f"{head} ({result.name}): {result.configurations} configurations")
    for count, what in (
        (result.new, f"new, {result.jobs} jobs" if goal is None else "new, of which the law's needs are measured"),
        (result.already_measured, "already measured"),
        (result.already_queued, "already queued by another sweep, shared with it"),
        (result.failed_before, "failed before: `farm sweep retry` tries them again"),
    ):
        if count:
            click.echo(f"  {count:6d} {what}")
    for line in _forecast_lines(forecast) if result.jobs or goal is not None else ():
        click.echo(line)
    for row in result.infeasible:
        click.echo(f"  {row['count']:6d} infeasible: {row['model']} {row['precision']} on {row['gpu']}: {row['why']}")


def _forecast_lines(forecast: Mapping[str, Any]) -> Iterator[str]:
    """What the new jobs will take, a line a GPU type; of an adaptive sweep what it will probably measure, and the most
    that it may."""
    until, at_most = forecast.get("until"), forecast.get("at_most", {})
    if until == "unknown":
        yield "  forecast: until the target is met: not known"
    else:
        yield from (f"  forecast: {line}" for line in _by_gpu(forecast))
    if until in ("target", "budget"):
        yield f"  forecast: that is until the {until}, at an error of {forecast['expected_error_percent']:.2g}%"
    yield from (f"  at most:  {line}" for line in _by_gpu(at_most))
    if forecast.get("raw_log_bytes"):
        yield f"  forecast: raw logs of {with_prefix(forecast['raw_log_bytes'], 'B')}"


def _by_gpu(forecast: Mapping[str, Any]) -> Iterator[str]:
    for gpu, part in forecast.get("by_gpu", {}).items():
        if part["seconds"] is None:
            yield f"{gpu}: not known, for the work of a model was never counted"
            continue
        joules, workers = joules_text(part["energy_joules"]), part["workers"]
        yield f"{gpu}: {part['jobs']} jobs, {duration(part['seconds'])} with {workers} worker(s), {joules} above idle"


def _goal(adaptive: bool, target_error: float | None, joules: float | None, hours: float | None) -> Goal | None:
    """What an adaptive sweep ends at; None for one that measures everything. RequestError for half of it."""
    if not adaptive:
        for name, value in (("target-error", target_error), ("joules", joules), ("hours", hours)):
            if value is not None:
                raise RequestError(name, value, "--adaptive beside it, or leave it out")
        return None
    if target_error is None:
        raise RequestError("target-error", None, "required with --adaptive: an error in per cent, such as 5")
    return Goal(target_error, joules, hours)


@sweep.command("list")
@db_option
@json_option
def list_(db: str | None, as_json: bool) -> None:
    """Every sweep: its state and why, its jobs, joules measured so far, time left."""
    with opened(db, create=False) as store:
        rows = control.overview(store)
    if as_json:
        emit_json({"sweeps": rows})
        return
    from farm.cli.progress import print_sweeps

    print_sweeps(rows)


@sweep.command()
@click.argument("sweep_id", metavar="[ID]", required=False, shell_complete=complete_sweep)
@db_option
@json_option
def status(sweep_id: str | None, db: str | None, as_json: bool) -> None:
    """How far a sweep is (id or name), or all sweeps together; why jobs wait, and why they failed.

    Exit 1 where a job of it failed for good; without ID, where one of an open sweep did.
    """
    with opened(db, create=False) as store:
        document = control.document(store, sweep_id)
        failed = control.failures(store, _asked_about(store, document))
    if as_json:
        emit_json(document)
    else:
        from farm.cli.progress import print_status

        print_status(document)
    raise click.exceptions.Exit(1 if failed else 0)


@sweep.command()
@click.argument("sweep_id", metavar="[ID]", required=False, shell_complete=complete_sweep)
@click.option("--interval", default=1.0, show_default=True, type=FiniteRange(0.1, 3600.0), help="Seconds.")
@db_option
@json_option
def watch(sweep_id: str | None, interval: float, db: str | None, as_json: bool) -> None:
    """Follow a sweep, or all, until nothing is open. Ctrl-C leaves the farm running.

    Exit 1 where a job of it failed for good; without ID, where one of a sweep did that was open at the start.
    """
    from farm.cli.progress import follow

    with opened(db, create=False) as store:
        first = control.document(store, sweep_id)  # an unknown sweep is refused before any bar is drawn
        asked_about = _asked_about(store, first)
        document = follow(lambda: control.document(store, sweep_id), interval, err=as_json)
        failed = control.failures(store, asked_about)
    if as_json:
        emit_json(document)
    raise click.exceptions.Exit(1 if failed else 0)


@sweep.command()
@click.argument("sweep_id", metavar="ID", shell_complete=complete_sweep)
@db_option
@json_option
def show(sweep_id: str, db: str | None, as_json: bool) -> None:
    """A sweep: what was asked for, how far it is, and who did what to it and when."""
    with opened(db, create=False) as store:
        document = control.history(store, control.resolve(store, sweep_id))
    if as_json:
        emit_json(document)
        return
    from farm.cli.progress import print_history

    print_history(document)


@sweep.command(context_settings={"ignore_unknown_options": True})  # a negative number is none
@click.argument("sweep_id", metavar="ID", shell_complete=complete_sweep)
@click.argument("number", metavar="N", type=PRIORITY)
@db_option
@json_option
def priority(sweep_id: str, number: int, db: str | None, as_json: bool) -> None:
    """Change the priority of a sweep, also while it waits: jobs of a larger number run first."""
    with opened(db, create=False) as store:
        row = control.resolve(store, sweep_id)
        jobs = control.set_priority(store, row["id"], number)
    if as_json:
        emit_json({"sweep": row["id"], "name": row["name"], "priority": number, "jobs": jobs})
    else:
        click.echo(f"sweep {row['id']}: priority {number}, {jobs} open jobs")


def _change(name: str, action: Callable[[Store, int], int], said: str, help_text: str) -> None:
    """A subcommand that does one thing to a sweep, or to each of them."""

    @sweep.command(name, help=help_text)
    @click.argument("sweep_id", metavar="[ID]", required=False, shell_complete=complete_sweep)
    @db_option
    @json_option
    def command(sweep_id: str | None, db: str | None, as_json: bool) -> None:
        with opened(db, create=False) as store:
            row = None if sweep_id is None else control.resolve(store, sweep_id)
            rows = control.listing(store) if row is None else [row]
            jobs = sum(action(store, each["id"]) for each in rows)
        if as_json:
            emit_json({"sweep": row and row["id"], "name": row and row["name"], "jobs": jobs})
        else:
            who = f"sweep {row['id']}" if row else "all sweeps"
            click.echo(f"{who}: {jobs} jobs {said}")


_change("pause", control.pause, "held", "Hold what has not begun; what runs, runs to its end. All sweeps without ID.")
_change("resume", control.resume, "released", "Let go what was held. All sweeps without ID.")
_change("cancel", control.cancel, "cancelled", "End every open job that no other sweep wants. All sweeps without ID.")
_change(
    "retry",
    control.retry,
    "queued again, or offered with today's catalog",
    "Try again what failed, and offer what waits with the catalog entries of this host. All sweeps without ID.",
)


def _asked_about(store: Store, document: dict[str, Any]) -> frozenset[int]:
    """The sweeps whose failures make the exit status: the one named, else those that are open."""
    return control.open_sweeps(store) if document["sweep"] is None else frozenset((document["sweep"],))
