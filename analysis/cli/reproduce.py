"""``farm reproduce``: the paper's figures and tables as files, from shipped rows and the farm's own."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from analysis.cli.options import data_options
from farm.cli.options import emit_json, json_option
from farm.domain.errors import RequestError

FIGURE_FORMATS = (".png", ".svg", ".csv")


@click.command()
@click.option("--out", required=True, metavar="DIR", help="Folder for the files; made where it is not there.")
@click.option("--figure", "figures", multiple=True, type=int, metavar="N", help="This figure, 1 to 8; may be repeated.")
@click.option("--table", "tables", multiple=True, type=int, metavar="N", help="This table: 1, 2, 6 to 9.")
@click.option(
    "--simulate", is_flag=True, help="Fill A4000 and A6000, which the paper does not publish, with simulated rows."
)
@data_options
@json_option
def reproduce(
    out: str,
    figures: tuple[int, ...],
    tables: tuple[int, ...],
    simulate: bool,
    data: str | None,
    only_own: bool,
    where: tuple[str, ...],
    db: str | None,
    as_json: bool,
) -> None:
    """The figures and tables of the paper, beside what it prints.

    PNG, SVG and CSV of each figure, CSV of each table. Rows that are missing are said.
    """
    from analysis.cli.rows import known_rows
    from analysis.report import reproduce as parts

    if not out.strip():
        raise RequestError("out", "nothing", "a folder's name")
    every = not figures and not tables
    chosen = {
        "figure": parts.chosen("figure", parts.FIGURES, None if every else figures),
        "table": parts.chosen("table", parts.TABLES, None if every else tables),
    }
    known = known_rows(data, where, db, only_own)
    rows = parts.with_simulated(known.table) if simulate else known.table
    # All of them first: rows that one of them cannot be made of leave no file of another.
    parts_made = {part: {number: make(rows) for number, make in makers.items()} for part, makers in chosen.items()}
    folder = _folder(Path(out))
    document: dict[str, dict[str, Any]] = {
        f"{part}s": {str(number): _write(folder / f"{part}{number}", made) for number, made in numbered.items()}
        for part, numbered in parts_made.items()
    }
    if as_json:
        emit_json({**document, "source": known.source, "rows": len(rows)})
        return
    for part, entries in document.items():
        for number, entry in entries.items():
            files = ", ".join(Path(file).name for file in entry["files"]) or "not made"
            lacking = f"; missing: {entry['missing']}" if entry["missing"] else ""
            click.echo(f"{part[:-1]} {number}: {files}{lacking}")


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError("out", str(path), f"a folder that can be written ({error.strerror})") from None
    return path


def _write(stem: Path, made: Any) -> dict[str, Any]:
    """The files of one part, all of them or none."""
    from analysis.report import figures
    from farm.files.atomic import atomic_write

    paths: list[Path] = []
    if made.picture is not None:
        paths = figures.save(made.picture, stem, FIGURE_FORMATS)
    elif made.rows:
        paths = [stem.with_suffix(".csv")]
        with ExitStack() as stack:
            stack.enter_context(atomic_write(paths[0], "out")).write_text(figures.csv_text(made.rows), encoding="utf-8")
    return {"files": [str(path) for path in paths], "missing": made.missing}
