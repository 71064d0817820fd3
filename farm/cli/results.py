"""``farm results``: measurements and data sets listed, exported, imported; the raw power log of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from farm.cli.options import LIST_WIDTH, ROWS_GPU, ROWS_MODEL, db_option, emit_json, json_option
from farm.database import opened
from farm.domain import OperationError, RequestError
from farm.domain.row import Row
from farm.domain.text import one_line
from farm.domain.words import significant
from farm.files.table import read_table, write_documents, write_table
from farm.results import OWN, Results, document

SAMPLE_COLUMNS: Final = ("seconds", "power_watts", "energy_joules", "temperature_c", "clock_mhz", "window")


@click.group()
def results() -> None:
    """List, export and import measurements."""


@results.command("list")
@click.option("--dataset", metavar="NAME", help="Only this data set; `farm` is the farm's own.")
@click.option("--model", type=ROWS_MODEL, help="Only this model.")
@click.option("--gpu", type=ROWS_GPU, help="Only this GPU type.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many rows.")
@click.option("--removed", is_flag=True, help="What `farm results remove` took out: ids, why, by whom and when.")
@db_option
@json_option
def list_(
    dataset: str | None,
    model: str | None,
    gpu: str | None,
    limit: int | None,
    removed: bool,
    db: str | None,
    as_json: bool,
) -> None:
    """What was measured and imported, a row each."""
    with opened(db, create=False) as store:
        known = Results(store)
        if removed:
            asked = {"dataset": dataset, "model": model, "gpu": gpu}
            wanted = {name: value for name, value in asked.items() if value is not None}
            gone = [row for row in known.removed() if all(row[name] == value for name, value in wanted.items())]
            _show_removed(gone[:limit], as_json)
            return
        known.check(dataset, model=model, gpu=gpu)
        rows = islice(known.rows(dataset, model=model, gpu=gpu), limit)
        if as_json:
            documents = [document(row) for row in rows]
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
        known = Results(store)
        known.check(dataset)
        count = write_table(file, known.rows(dataset))
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


@results.command()
@click.argument("measurement_id", metavar="ID")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="FILE.csv or FILE.parquet.")
@db_option
@json_option
def samples(measurement_id: str, out: Path, db: str | None, as_json: bool) -> None:
    """Write the raw power log of a measurement: time, watts, joules, temperature, clock, window."""
    with opened(db, create=False) as store:
        data = Results(store).samples(measurement_id)
    tabulate = import_module("workers.meters.samples").tabulate  # what a worker wrote, a worker's code reads
    try:
        rows = tabulate(data)
    except ValueError as error:
        raise OperationError(f"measurement {measurement_id}: {error}") from None
    write_documents(out, SAMPLE_COLUMNS, rows, "out")
    if as_json:
        emit_json({"measurement_id": measurement_id, "file": str(out), "rows": len(rows)})
    else:
        click.echo(f"{out}: {len(rows)} readings")


@results.command()
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--dataset", metavar="NAME", help="Every row of this data set; `farm` is the farm's own.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept with the ids of the rows.")
@db_option
@json_option
def remove(ids: tuple[str, ...], dataset: str | None, reason: str, db: str | None, as_json: bool) -> None:
    """Take rows, by measurement id, or a data set out of every fit, list and export.

    What they were of counts as measured no more: a sweep measures it again. Their ids and the reason stay
    (`farm results list --removed`); an imported file may be imported again.
    """
    if bool(ids) == (dataset is not None):
        raise RequestError("ID", " ".join(ids), "either measurement ids, or --dataset NAME")
    with opened(db, create=False) as store:
        known = Results(store)
        if dataset is None:
            rows = known.remove_ids(ids, reason=reason)
        else:
            rows = known.remove_dataset(dataset, reason=reason, shipped=_shipped_names())
    if as_json:
        emit_json({"dataset": dataset, "ids": list(ids), "removed": rows, "reason": reason.strip()})
    else:
        click.echo(f"{rows} rows removed: {reason.strip()}")


@results.command()
@db_option
@json_option
def datasets(db: str | None, as_json: bool) -> None:
    """The data sets that fits and predictions know: those that ship, imported ones, the farm's own."""
    with opened(db, create=False, default_may_be_missing=True) as store:
        rows = list(Results(store).rows())
    documents = [_dataset(name, "shipped", table) for name, table in _shipped().items()]
    for name in dict.fromkeys(row.dataset or "" for row in rows):
        part = [row for row in rows if (row.dataset or "") == name]
        documents.append(_dataset(name, "farm" if name == OWN else "imported", part))
    if as_json:
        emit_json({"datasets": documents})
        return
    click.echo(f"{'data set':20} {'origin':10} {'rows':>6}  models; GPUs")
    for entry in documents:
        names = f"{', '.join(entry['models'])}; {', '.join(entry['gpus'])}"
        click.echo(f"{one_line(entry['name']):20} {entry['origin']:10} {entry['rows']:>6}  {one_line(names)}")


def _shipped_names() -> tuple[str, ...]:
    try:
        return tuple(import_module("analysis.shipped").DATASETS)
    except ImportError:
        return ()


def _shipped() -> dict[str, list[Row]]:
    """The data sets that ship; none where the extra [analysis], which holds them, is not installed."""
    try:
        shipped = import_module("analysis.shipped")
    except ImportError:
        return {}
    return {name: [row for file in files for row in read_table(file)] for name, files in shipped.DATASETS.items()}


def _dataset(name: str, origin: str, rows: Sequence[Row]) -> dict[str, Any]:
    configurations = [row.configuration for row in rows]
    return {
        "name": name,
        "origin": origin,
        "rows": len(rows),
        "models": sorted({c.model for c in configurations}),
        "gpus": sorted({c.gpu for c in configurations}),
    }


def _show_removed(rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        emit_json({"count": len(rows), "removed": rows})
        return
    for row in rows:
        what = f"{one_line(row['measurement_id'])} of {one_line(row['dataset'])}, {row['model']} on {row['gpu']}"
        click.echo(f"{row['removed_at']}  {what}, by {one_line(row['who'])}: {one_line(row['reason'])}")


def _print(rows: Iterator[Row]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("data set", "gpu", "configuration"):
        table.add_column(name, no_wrap=True)
    for name in ("joules", "±", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("flags", no_wrap=True)
    for row in rows:
        c = row.configuration
        numbers = (_figure(row.energy_joules), _figure(row.energy_std_joules), _figure(row.duration_seconds))
        names = (one_line(row.dataset or ""), one_line(c.gpu), one_line(c.label()))
        table.add_row(*map(escape, names), *numbers, escape(one_line(" ".join(row.flags))))
    Console(highlight=False, width=LIST_WIDTH).print(table)


def _figure(value: float | None) -> str:
    return "" if value is None else significant(value, 4)
