"""``farm results``: list, export and import measurements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import click

from farm.cli.options import ROWS_GPU, ROWS_MODEL, db_option, emit_json, json_option
from farm.database import opened
from farm.domain.row import Row
from farm.files.table import read_table, write_table
from farm.results import Results


@click.group()
def results() -> None:
    """List, export and import measurements."""


@results.command("list")
@click.option("--dataset", metavar="NAME", help="Only this data set; `farm` is the farm's own.")
@click.option("--model", type=ROWS_MODEL, help="Only this model.")
@click.option("--gpu", type=ROWS_GPU, help="Only this GPU type.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many rows.")
@db_option
@json_option
def list_(
    dataset: str | None, model: str | None, gpu: str | None, limit: int | None, db: str | None, as_json: bool
) -> None:
    """What was measured and imported, a row each."""
    with opened(db, create=False) as store:
        rows = islice(Results(store).rows(dataset, model=model, gpu=gpu), limit)
        if as_json:
            documents = [row.to_dict() | {"flags": list(row.flags)} for row in rows]
            emit_json({"count": len(documents), "results": documents})
        else:
            _print(rows)


@results.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dataset", metavar="NAME", help="Only this data set; `farm` is the farm's own.")
@db_option
@json_option
def export(file: Path, dataset: str | None, db: str | None, as_json: bool) -> None:
    """Write every row to FILE.csv or FILE.parquet."""
    with opened(db, create=False) as store:
        count = write_table(file, Results(store).rows(dataset))
    if as_json:
        emit_json({"file": str(file), "rows": count})
    else:
        click.echo(f"{file}: {count} rows")


@results.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dataset", metavar="NAME", help="Data set of all rows. Default: what each says, else the file's name.")
@db_option
@json_option
def import_(file: Path, dataset: str | None, db: str | None, as_json: bool) -> None:
    """Read FILE (CSV, or Parquet by its suffix) into a data set: all of it, or nothing where a row is wrong."""
    rows = read_table(file)
    with opened(db) as store:
        done = Results(store).add(rows, dataset=dataset, default=file.stem)
    if as_json:
        emit_json({"file": str(file), **asdict(done)})
    else:
        names = ", ".join(done.datasets) or dataset or file.stem
        click.echo(f"{names}: {done.imported} rows imported, {done.duplicates} known already")


def _print(rows: Iterator[Row]) -> None:
    click.echo(f"{'data set':10} {'gpu':12} {'configuration':40} {'joules':>12} {'±':>10} {'seconds':>9}  flags")
    for row in rows:
        c = row.configuration
        numbers = (_figure(row.energy_joules), _figure(row.energy_std_joules), _figure(row.duration_seconds))
        click.echo(
            f"{row.dataset or '':10} {c.gpu:12} {c.label():40} {numbers[0]:>12} {numbers[1]:>10} {numbers[2]:>9}"
            f"  {' '.join(row.flags)}".rstrip()
        )


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
