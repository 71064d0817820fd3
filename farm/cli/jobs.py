"""``farm jobs``: list jobs; show every attempt of one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from farm.audit import Audit
from farm.cli.completion import complete_sweep
from farm.cli.options import ROWS_GPU, db_option, emit_json, json_option
from farm.database import opened
from farm.domain import Configuration, JobState, RequestError
from farm.domain.job import MAX_JOB_ID
from farm.domain.text import one_line
from farm.domain.times import stated
from farm.domain.words import significant
from farm.results import Results
from farm.sweeps import control


@click.group()
def jobs() -> None:
    """List jobs; show every attempt of one."""


@jobs.command("list")
@click.option("--state", type=click.Choice([state.value for state in JobState]), help="Only this state.")
@click.option("--gpu", type=ROWS_GPU, help="Only this GPU type.")
@click.option(
    "--sweep", "sweep_id", metavar="ID", shell_complete=complete_sweep, help="Only this sweep, by id or name."
)
@click.option("--limit", default=100, show_default=True, type=click.IntRange(min=1), help="At most so many.")
@db_option
@json_option
def list_(state: str | None, gpu: str | None, sweep_id: str | None, limit: int, db: str | None, as_json: bool) -> None:
    """Jobs in the order in which they run."""
    with opened(db, create=False) as store:
        Results(store).check(gpu=gpu)
        chosen = None if sweep_id is None else int(control.resolve(store, sweep_id)["id"])
        total, rows = Audit(store).jobs(state=state, gpu=gpu, sweep_id=chosen, limit=limit)
    if as_json:
        emit_json({"total": total, "jobs": stated(rows)})
        return
    for row in rows:
        tail = one_line(row["worker"] or row["reason"] or "", 300) or ("held" if row["held"] else "")
        label = f"{row['id']:7d} {row['state']:9} {row['gpu']:12} {_label(row):44} attempt {row['attempt']}"
        click.echo(f"{label}  {tail}".rstrip())
    if total > len(rows):
        click.echo(f"... {total - len(rows)} more (--limit)")


@jobs.command()
@click.argument("job_id", metavar="ID", type=click.IntRange(1, MAX_JOB_ID))
@db_option
@json_option
def show(job_id: int, db: str | None, as_json: bool) -> None:
    """One job: its configuration, every attempt and why it ended, its measurement."""
    with opened(db, create=False) as store:
        job = Audit(store).job(job_id)
    if job is None:
        raise RequestError("job", job_id, "the id of a job: `farm jobs list` shows them")
    if as_json:
        emit_json(stated(job))
    else:
        _print(job)


def _print(job: dict[str, Any]) -> None:
    wanted = ", ".join(map(str, job["sweeps"])) or "none"
    click.echo(f"job {job['id']}: {job['state']}, {_label(job)} on {job['gpu']}, queue {job['queue']}, sweeps {wanted}")
    if job["reason"]:
        click.echo(f"  {one_line(job['reason'])}")
    for attempt in job["attempts"]:
        span = f"{_time(attempt['started_at'])} to {_time(attempt['ended_at'])}"
        end = attempt["end"] or "running"
        message = f": {one_line(attempt['message'])}" if attempt["message"] else ""
        click.echo(f"  attempt {attempt['number']} by {one_line(attempt['worker'])}, {span}: {end}{message}")
    measured = job["measurement"]
    if measured is not None:
        energy = measured["energy_joules"]
        flags = f" [{' '.join(measured['flags'])}]" if measured["flags"] else ""
        amount = "energy unknown" if energy is None else f"{significant(energy, 6)} J"
        duration = significant(measured["duration_seconds"], 4)
        click.echo(f"  measured {amount} in {duration} s by {one_line(measured['meter'])}{flags}")
    for row in job["removed"]:
        click.echo(f"  removed {row['removed_at']} by {one_line(row['who'])}: {one_line(row['reason'])}")
    if job["late"]:
        click.echo(f"  {len(job['late'])} late, kept for audit")


def _label(row: dict[str, Any]) -> str:
    return Configuration(**{name: row[name] for name in Configuration.__dataclass_fields__}).label()


def _time(seconds: float | None) -> str:
    return "now" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
