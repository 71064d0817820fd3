"""Write the report: the part of ``farm report`` that needs the extra [analysis]."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from analysis import laws, validation
from analysis.cli.rows import Known
from analysis.report import figures
from analysis.report.content import TITLE, content, grids
from analysis.report.document import to_html, to_markdown
from analysis.table import Table
from farm.domain.errors import RequestError
from farm.files.atomic import atomic_write

SUFFIXES: Final = (".html", ".md")


def write(known: Known, out: Path, countries: Sequence[str] = ()) -> list[Path]:
    """The document at ``out``; the paths written. HTML holds its figure, Markdown has it in a file beside it.

    Raises RequestError for an unknown country, another suffix, a folder that cannot be written, and where the figure
    would take the place of a file that is no figure of ours. Written are all of the files or none.
    """
    picture_file = _check(out)
    grids(countries)
    outcome = _best_known(known.table)
    with ExitStack() as all_or_none:
        document = all_or_none.enter_context(atomic_write(out, "out"))  # a wrong target is said before the work
        figure = figures.png(figures.actual_against_predicted(outcome)) if outcome is not None else None
        blocks = content(known.table, source=known.source, countries=countries, figure=figure)
        if picture_file is None:
            document.write_text(to_html(blocks, TITLE), encoding="utf-8")
            return [out]
        document.write_text(to_markdown(blocks, picture_file.name), encoding="utf-8")
        if figure is None:
            return [out]
        all_or_none.enter_context(atomic_write(picture_file, "out")).write_bytes(figure)
    return [out, picture_file]


def _check(out: Path) -> Path | None:
    """Where the figure goes, None for inside the document."""
    if out.suffix not in SUFFIXES:
        raise RequestError("out", str(out), f"a name that ends in {' or '.join(SUFFIXES)}")
    if out.suffix == ".html":
        return None
    picture_file = out.with_suffix(".png")
    try:
        with picture_file.open("rb") as file:
            ours = figures.SOFTWARE.encode() in file.read(1000)
    except FileNotFoundError:
        return picture_file
    except OSError:
        ours = False
    if not ours:
        remedy = f"another name: its figure would replace {picture_file.name}, which is no figure of joulefarm"
        raise RequestError("out", str(out), remedy)
    return picture_file


def _best_known(table: Table) -> validation.Validation | None:
    """The default law in the measured rows, or where there are none, in those of another origin."""
    for origin in ("measured", "estimated", "simulated"):
        rows = table.where(origin=origin)
        if (~rows.spoiled).any():
            return validation.in_sample(laws.get(laws.DEFAULT)(), rows)
    return None
