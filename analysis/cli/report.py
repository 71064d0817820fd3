"""Write the report: the part of ``farm report`` that needs the extra [analysis]."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from analysis.cli.rows import Known
from analysis.report import figures
from analysis.report.content import TITLE, content, grids
from analysis.report.document import illustrations, to_html, to_markdown
from analysis.report.inventory import rows_csv
from farm.domain.errors import RequestError
from farm.files.atomic import atomic_write

SUFFIXES: Final = (".html", ".md")
PICTURES: Final = 12  # of a document in Markdown, at most
ROWS_HEAD: Final = "row,model,"  # how our file of rows begins


def write(known: Known, out: Path, countries: Sequence[str] = ()) -> list[Path]:
    """The document at ``out`` and its rows beside it; the paths written. Pictures are in the HTML, beside the Markdown.

    Raises RequestError for an unknown country, another suffix, a folder that cannot be written, and where a file that
    is none of ours would be replaced. Written are all of the files or none.
    """
    if out.suffix not in SUFFIXES:
        raise RequestError("out", str(out), f"a name that ends in {' or '.join(SUFFIXES)}")
    rows_file = out.with_suffix(".rows.csv")
    _keep_others(out, rows_file, ROWS_HEAD)
    pictures = [out.with_name(f"{out.stem}{f'-{i}' if i > 1 else ''}.png") for i in range(1, PICTURES + 1)]
    if out.suffix == ".md":
        for path in pictures:
            _keep_others(out, path, figures.SOFTWARE)
    grids(countries)
    with ExitStack() as all_or_none:
        document = all_or_none.enter_context(atomic_write(out, "out"))  # a wrong target is said before the work
        blocks = content(known.table, source=known.source, countries=countries, rows_file=rows_file.name)
        all_or_none.enter_context(atomic_write(rows_file, "out")).write_text(rows_csv(known.table), encoding="utf-8")
        if out.suffix == ".html":
            document.write_text(to_html(blocks, TITLE), encoding="utf-8")
            return [out, rows_file]
        drawn = list(zip(pictures, illustrations(blocks), strict=False))
        document.write_text(to_markdown(blocks, [path.name for path, _ in drawn]), encoding="utf-8")
        for path, illustration in drawn:
            file = all_or_none.enter_context(atomic_write(path, "out"))
            file.write_bytes(figures.png(illustration.picture))
    return [out, *(path for path, _ in drawn), rows_file]


def _keep_others(out: Path, path: Path, mark: str) -> None:
    """RequestError where there is a file of that name that does not carry our mark."""
    try:
        with path.open("rb") as file:
            ours = mark.encode() in file.read(1000)
    except FileNotFoundError:
        return
    except OSError:
        ours = False
    if not ours:
        remedy = f"another name: it would replace {path.name}, which is no file of joulefarm's"
        raise RequestError("out", str(out), remedy)
