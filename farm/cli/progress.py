"""How far a sweep is: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from farm.alerts import COORDINATOR_GONE, JOBS_FAILED, JOBS_WAIT
from farm.cli.options import LIST_WIDTH
from farm.domain import JobState, OperationError
from farm.domain.text import one_line
from farm.domain.words import seconds as duration
from farm.domain.words import with_prefix
from farm.waiting import NO_COORDINATOR

Status = dict[str, Any]
LINE_SECONDS: Final = 10.0  # at most one line in so long, where there is no terminal


def print_status(status: Status) -> None:
    """One row a GPU type, on stdout."""
    if status["sweep"] is not None:
        marks = [mark for mark in ("paused", "cancelled") if status[mark]]
        marks += [f"priority {status['priority']}"] if status["priority"] else []
        click.echo(f"sweep {status['sweep']} ({status['name']})" + "".join(f", {mark}" for mark in marks))
    table = Table(box=None, pad_edge=False)
    table.add_column("gpu")
    for state in JobState:
        table.add_column(state.value, justify="right")
    table.add_column("left", justify="right")
    rows = [(gpu, counts, status["eta_seconds_by_gpu"][gpu]) for gpu, counts in status["by_gpu"].items()]
    for gpu, counts, eta in [*rows, ("all", status["jobs"], status["eta_seconds"])]:
        table.add_row(gpu, *(str(counts[state]) for state in JobState), _remaining(eta, counts))
    Console(highlight=False).print(table)
    click.echo(f"pipeline loads: {status['pipeline_loads']}")
    for line in (*_adaptive(status), *_alerts(status), *_waits(status), *_failures(status)):
        click.echo(line)


def print_sweeps(rows: Sequence[Mapping[str, Any]]) -> None:
    """One row a sweep, on stdout."""
    table = Table(box=None, pad_edge=False)
    for name in ("id", "name", "state"):
        table.add_column(name)
    for name in ("priority", "done", "jobs", "energy", "left"):
        table.add_column(name, justify="right")
    table.add_column("why", no_wrap=True)
    for row in rows:
        jobs = row["jobs"]
        joules = with_prefix(row["joules"], "J")
        numbers = (
            str(row["priority"]),
            str(jobs["done"]),
            str(sum(jobs.values())),
            joules,
            _remaining(row["eta_seconds"], jobs),
        )
        table.add_row(str(row["id"]), escape(one_line(row["name"], 40)), row["state"], *numbers,
                      escape(one_line(row["why"] or "", 200)))  # fmt: skip
    Console(highlight=False, width=LIST_WIDTH).print(table)


def print_history(document: Mapping[str, Any]) -> None:
    """A sweep, what was asked for and what was done to it, on stdout."""
    why = f": {one_line(document['why'])}" if document["why"] else ""
    click.echo(f"sweep {document['id']} ({one_line(document['name'])}), {document['state']}{why}")
    counts = ", ".join(f"{count} {state}" for state, count in document["jobs"].items() if count)
    click.echo(f"jobs       {counts or 'none'}, of {document['configurations']} configurations")
    click.echo(f"priority   {document['priority']}")
    click.echo(f"energy     {with_prefix(document['joules'], 'J')}")
    if document["deadline"]:
        click.echo(f"deadline   {document['deadline']}")
    for key, value in document["spec"].items():
        if value not in (None, []):
            click.echo(f"{key:<10} {one_line(json.dumps(value), 300)}")
    for act in document["actions"]:
        role = f" (role {one_line(act['role'])})" if act["role"] else ""
        detail = ", ".join(f"{key} {value}" for key, value in act["detail"].items())
        click.echo(f"{act['at']}  {one_line(act['who'])}{role}: {act['action']} {one_line(detail, 300)}".rstrip())


def _adaptive(status: Status) -> list[str]:
    """How far an adaptive sweep is from its target, and why it ended."""
    if "adaptive" not in status:
        return []
    expected = status["expected_error_percent"]
    now = "not known yet" if expected is None else f"{expected:.3g}%"
    lines = [f"expected error: {now}, target {status['target_error_percent']:g}%"]
    reason = status["adaptive"]["end_reason"]
    return lines if reason is None else [*lines, f"ended: {reason}"]


def _alerts(status: Status) -> list[str]:
    """What a person must know, a line each, but for why jobs wait and failed, which have lines of their own."""
    return [one_line(row["text"]) for row in status["alerts"] if row["kind"] not in (JOBS_WAIT, JOBS_FAILED)]


def _waits(status: Status) -> list[str]:
    """Why queued jobs wait, a line each."""
    return [f"waiting: {row['count']} on {row['gpu']}: {one_line(row['why'])}" for row in status["waiting"]]


def _failures(status: Status) -> list[str]:
    return [
        f"failed: {row['count']}, such as job {row['example_job']}: {one_line(row['reason'], 300)}"
        for row in status["failed"]
    ]


def follow(look: Callable[[], Status], interval: float, *, err: bool = False) -> Status:
    """Show until nothing is open, on stdout unless ``err``; the last status. Ctrl-C ends the watching, not the farm."""
    console = Console(stderr=err, highlight=False)
    patient = _patient(look, interval)
    try:
        return _bars(patient, interval, console) if console.is_terminal else _lines(patient, interval, err)
    except KeyboardInterrupt:
        click.echo("stopped watching; the farm goes on", err=True)
        return look()


def _patient(look: Callable[[], Status], interval: float) -> Callable[[], Status]:
    """Wait for a database that goes away while somebody watches, as the farm itself does."""

    def wait() -> Status:
        told = False
        while True:
            try:
                return look()
            except OperationError as error:
                if not told:
                    click.echo(f"{error}; waiting for it", err=True)
                told = True
                time.sleep(interval)

    return wait


def _bars(look: Callable[[], Status], interval: float, console: Console) -> Status:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {}
        said: set[str] = set()
        while True:
            status = look()
            for line in _news(status, said):
                progress.console.print(line, markup=False, highlight=False)
            for gpu, counts in status["by_gpu"].items():
                if gpu not in tasks:
                    tasks[gpu] = progress.add_task(gpu, note="")
                progress.update(
                    tasks[gpu],
                    total=sum(counts.values()),
                    completed=sum(counts.values()) - _open(counts),
                    note=_note(counts, status["eta_seconds_by_gpu"][gpu]),
                )
            if _is_over(status):
                return status
            time.sleep(interval)


def _lines(look: Callable[[], Status], interval: float, err: bool) -> Status:
    """A line a GPU type when something changed, not more often than every LINE_SECONDS; and at the end."""
    shown: Status = {}
    due = 0.0
    said: set[str] = set()
    while True:
        status = look()
        over = _is_over(status)
        if over or (status["by_gpu"] != shown and time.monotonic() >= due):
            for gpu, counts in status["by_gpu"].items():
                total = sum(counts.values())
                note = _note(counts, status["eta_seconds_by_gpu"][gpu])
                click.echo(f"{gpu}: {total - _open(counts)}/{total} {note}".rstrip(), err=err)
            shown, due = status["by_gpu"], time.monotonic() + LINE_SECONDS
        for line in _news(status, said):
            click.echo(line, err=err)
        if over:
            return status
        time.sleep(interval)


def _news(status: Status, said: set[str]) -> list[str]:
    """What stands in the way and was not said before. That jobs wait their turn is no news."""
    causes = {f"{row['gpu']} waits: {one_line(row['why'])}" for row in status["waiting"] if row["stuck"]}
    if not _is_over(status):
        if not status["coordinator"]["alive"]:
            causes.add(NO_COORDINATOR)
        others = (COORDINATOR_GONE, JOBS_WAIT, JOBS_FAILED)
        causes |= {one_line(row["text"]) for row in status["alerts"] if row["kind"] not in others}
    causes |= {line for line in _adaptive(status) if status["expected_error_percent"] is not None}
    causes |= {f"failed: {one_line(row['reason'], 300)} (job {row['example_job']})" for row in status["failed"]}
    news = sorted(causes - said)
    said |= causes
    return news


def _is_over(status: Status) -> bool:
    """Whether nothing is open and nothing more is added to an adaptive sweep."""
    return not _open(status["jobs"]) and not status["choosing"]


def _open(counts: dict[str, int]) -> int:
    return counts[JobState.QUEUED] + counts[JobState.RUNNING]


def _note(counts: dict[str, int], eta: float | None) -> str:
    parts = [
        f"{counts[state]} {state.value}"
        for state in (JobState.RUNNING, JobState.FAILED, JobState.CANCELLED)
        if counts[state]
    ]
    remaining = _remaining(eta, counts)
    return ", ".join(parts + ([f"{remaining} left"] if remaining else []))


def _remaining(eta: float | None, counts: dict[str, int]) -> str:
    """``1 h 5 min``, ``3 min 20 s``; nothing where nothing is open, ``?`` where nothing tells."""
    if not _open(counts):
        return ""
    if eta is None:
        return "?"
    return duration(eta)
