"""``farm doctor``: whether this host can measure, a line a check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import click

from farm.cli.options import FiniteRange, broker_option, db_option, emit_json, json_option
from farm.domain.errors import RequestError

if TYPE_CHECKING:
    from farm.doctor import Finding
    from farm.settings import Settings


@click.command()
@db_option
@broker_option
@click.option("--deep", is_flag=True, help="Put the meter of every GPU here through its paces: windows, repeats, idle.")
@click.option(
    "--minutes",
    type=FiniteRange(min=0.5, max=60.0),
    help="Of --deep, for each device; what does not fit is left out.  [default: 4]",
)
@json_option
def doctor(db: str | None, broker: str | None, deep: bool, minutes: float | None, as_json: bool) -> None:
    """Can this host measure? A line each: ok, warning or failure, and what to do.

    Exit 1 where something failed; warnings (no GPU, no broker yet) leave it 0. Nothing is changed. With --deep every
    GPU works for some minutes under a load of constant power.
    """
    from farm import settings as configuration
    from farm.doctor import Finding, Level, worst

    if minutes is not None and not deep:
        raise RequestError("--minutes", minutes, "goes with --deep")
    settings = configuration.load(database_url=db, broker_url=broker)
    findings: list[Finding] = []
    figures = []
    for answer in chain(_all(settings), _deep(minutes) if deep else ()):
        if not isinstance(answer, Finding):
            figures.append(answer["figures"])
            continue
        findings.append(answer)
        if not as_json:
            click.echo(_line(answer))
    level = worst(findings)
    if as_json:
        checks = [{"check": f.check, "level": f.level, "found": f.found, "remedy": f.remedy or None} for f in findings]
        emit_json({"level": level, "checks": checks} | ({"devices": figures} if deep else {}))
    raise click.exceptions.Exit(1 if level is Level.FAILURE else 0)


def _deep(minutes: float | None) -> Iterator[Finding | Mapping[str, Any]]:
    try:
        from workers.doctor.host import deep
    except ImportError:  # told by the line on workers already
        return
    yield from deep(minutes)


def _all(settings: Settings) -> Iterator[Finding]:
    from farm.doctor import coordinator
    from workers.doctor.spool import spool

    yield from coordinator(settings)
    yield from spool(settings)
    try:
        from workers.doctor.host import gpu_host
    except ImportError as error:  # a coordinator without the worker extra
        from farm.doctor import warning

        yield warning("worker", f"{error.name} is not installed: no measuring here", "pip install 'joulefarm[worker]'")
    else:
        yield from gpu_host()


def _line(finding: Finding) -> str:
    colour = {"ok": "green", "warning": "yellow", "failure": "red"}[finding.level]
    remedy = f" -> {finding.remedy}" if finding.remedy else ""
    return f"{click.style(f'{finding.level:8}', fg=colour)} {finding.check:12} {finding.found}{remedy}"
