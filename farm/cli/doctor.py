"""``farm doctor``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from farm.cli.options import broker_option, db_option, emit_json, json_option

if TYPE_CHECKING:
    from farm.diagnosis import Finding
    from farm.settings import Settings


@click.command()
@db_option
@broker_option
@json_option
def doctor(db: str | None, broker: str | None, as_json: bool) -> None:
    """Can this host measure? A line each: ok, warning or failure, and what to do.

    Exit 1 where something failed; warnings (no GPU, no broker yet) leave it 0. Nothing is changed.
    """
    from farm import settings as configuration
    from farm.diagnosis import Level, worst

    settings = configuration.load(database_url=db, broker_url=broker)
    findings = []
    for finding in _all(settings):
        findings.append(finding)
        if not as_json:
            click.echo(_line(finding))
    level = worst(findings)
    if as_json:
        emit_json(
            {
                "level": level,
                "checks": [
                    {"check": f.check, "level": f.level, "found": f.found, "remedy": f.remedy or None} for f in findings
                ],
            }
        )
    raise click.exceptions.Exit(1 if level is Level.FAILURE else 0)


def _all(settings: Settings) -> Iterator[Finding]:
    from farm.diagnosis import coordinator

    yield from coordinator(settings)
    try:
        from workers.doctor import gpu_host
    except ImportError as error:  # a coordinator without the worker extra
        from farm.diagnosis import warning

        yield warning("worker", f"{error.name} is not installed: no measuring here", "pip install 'joulefarm[worker]'")
    else:
        yield from gpu_host(settings)


def _line(finding: Finding) -> str:
    colour = {"ok": "green", "warning": "yellow", "failure": "red"}[finding.level]
    remedy = f" -> {finding.remedy}" if finding.remedy else ""
    return f"{click.style(f'{finding.level:8}', fg=colour)} {finding.check:12} {finding.found}{remedy}"
