"""``farm report``: what is known, as a document."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

from farm.cli.options import db_option, emit_json, json_option


@click.command()
@click.option(
    "--out",
    required=True,
    metavar="FILE",
    help="A page (.html, pictures inside) or Markdown (.md, pictures beside it); its rows beside either.",
)
@click.option("--data", metavar="FILE", help="CSV or Parquet: the only rows used. Default: the farm's database.")
@click.option("--country", "countries", multiple=True, metavar="ISO", help="Carbon of an image there, such as FRA.")
@db_option
@json_option
def report(out: str, data: str | None, countries: tuple[str, ...], db: str | None, as_json: bool) -> None:
    """What is known, as a document.

    What an image costs, figures, coverage, quality of the rows, laws and their errors, how to reproduce it.
    """
    # analysis is an extra: reached by name, only here.
    known = import_module("analysis.cli.rows").known_rows(data, (), db)
    files = import_module("analysis.cli.report").write(known, Path(out), countries)
    if as_json:
        emit_json({"files": [str(file) for file in files], "rows": len(known.table), "source": known.source})
    else:
        click.echo("\n".join(str(file) for file in files))
