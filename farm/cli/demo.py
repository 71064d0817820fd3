"""``farm demo``: the main job on this machine, from nothing, and what came of it as a table."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from farm.cli.options import emit_json, json_option
from farm.domain.words import significant

if TYPE_CHECKING:
    from farm.local.demo import Demonstration


@click.command()
@json_option
def demo(as_json: bool) -> None:
    """The main job on this machine, from nothing."""
    from farm.cli.progress import follow
    from farm.local.demo import run

    def say(line: str) -> None:
        click.echo(line, err=True)

    done = run(say, lambda look: follow(look, 1.0, err=True))
    if as_json:
        emit_json(asdict(done))
    else:
        _print(done)


def _print(done: Demonstration) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("model", "size", "steps", "cfg", "prompts"):
        table.add_column(name)
    for name in ("seconds", "joules", "±"):
        table.add_column(name, justify="right")
    table.add_column("flags")
    for row in sorted(done.rows, key=lambda r: (r["model"], r["width"], r["steps"], r["cfg"])):
        cells = [row["model"], f"{row['width']}x{row['height']}", str(row["steps"]), "on" if row["cfg"] else "off"]
        joules, std = row["energy_joules"], row["energy_std_joules"]
        cells += [str(row["prompts"]), f"{row['duration_seconds']:.3f}"]
        cells += [
            "unknown" if joules is None else significant(joules),
            "" if std is None else significant(std, 2),
            row["flags"],
        ]
        table.add_row(*cells)
    Console(width=100, highlight=False).print(table)
    metrics = done.fit["metrics"]
    click.echo(
        f"\nlaw {done.fit['law']}: {done.fit['n']} rows, R² of ln E {metrics['r2_log']:.3f}, "
        f"mean error {metrics['mape_percent']:.1f}%, scatter {done.scatter_percent:.1f}%"
    )
    click.echo(f"database: {done.database}\nreport:   {done.report}\n{done.seconds:.0f} s")
