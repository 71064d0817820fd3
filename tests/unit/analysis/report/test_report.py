"""farm report: two formats of one content, names of strangers as text, files whole or not at all."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from analysis.report.document import Grid, Paragraph, to_html, to_markdown
from analysis.shipped import TRANSFORMERS as SHIPPED
from farm.domain.errors import OperationError
from farm.files.atomic import atomic_write

PAPER = str(SHIPPED)
HOSTILE = '<script>alert(1)</script> | [x](javascript:alert(2)) `a` *b* "><img src=x onerror=alert(3)>'


class Page(HTMLParser):
    """What a browser would see: tags, and the text outside of style."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """The paper's rows as a data set whose name, and one of whose models, is markup."""
    path = tmp_path / "rows.csv"
    with SHIPPED.open(newline="") as file:
        rows = [row | {"dataset": HOSTILE} for row in csv.DictReader(file)]
    rows.append(rows[0] | {"model": "<b>new</b>"})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_page_is_html_needs_no_other_file_and_runs_nothing(farm, hostile, tmp_path):
    out = tmp_path / "report.html"
    found = json.loads(farm("report", "--out", out, "--data", hostile, "--country", "FRA", "--json").out)
    assert found["files"] == [str(out)]
    assert not (tmp_path / "report.png").exists()
    page = Page(out.read_text())
    assert {"html", "title", "h1", "table"} <= {tag for tag, _ in page.tags}
    assert not {"script", "b"} & {tag for tag, _ in page.tags}
    (picture,) = (attributes for tag, attributes in page.tags if tag == "img")
    assert str(picture["src"]).startswith("data:image/png;base64,iVBOR")
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert HOSTILE in page.words
    assert any("France" in words for words in page.words)


def test_markdown_holds_names_as_text(farm, hostile, tmp_path):
    from markdown_it import MarkdownIt

    out = tmp_path / "report.md"
    assert farm("report", "--out", out, "--data", hostile).code == 0
    assert "<" not in re.sub(r"\\<", "", out.read_text())
    page = Page(MarkdownIt("commonmark").enable("table").render(out.read_text()))
    assert not {"script", "b", "a", "em", "code"} & {tag for tag, _ in page.tags}
    assert [attributes["src"] for tag, attributes in page.tags if tag == "img"] == ["report.png"]
    assert HOSTILE in page.words


def test_both_formats_say_the_same():
    blocks = [Paragraph("From a_b & c."), Grid(["model", "J"], [["a|b", "1.5"], ["_x_", "2"]]), Grid(["a"], [])]
    page = Page(to_html(blocks, "title"))
    words = [word.strip() for word in page.words if word.strip()]
    assert words[words.index("From a_b & c.") :] == [
        "From a_b & c.", "model", "J", "a|b", "1.5", "_x_", "2", "No rows.",
    ]  # fmt: skip
    assert to_markdown(blocks, "f.png") == (
        "From a_b \\& c.\n\n| model | J |\n| --- | ---: |\n| a\\|b | 1.5 |\n| \\_x\\_ | 2 |\n\nNo rows.\n"
    )


@pytest.mark.parametrize("name", ["report.pdf", "report", "report.png", "report.md.txt", "report.HTML~"])
def test_another_suffix_is_refused(farm, tmp_path, name):
    outcome = farm("report", "--out", tmp_path / name, "--data", PAPER)
    assert (outcome.code, outcome.out) == (2, "")
    assert ".html or .md" in outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["d.md", "d.html", "none/r.md", "none/r.html"])
def test_a_folder_or_one_that_is_not_there_leaves_nothing(farm, tmp_path, name):
    for folder in ("d.md", "d.html"):
        (tmp_path / folder).mkdir()
    outcome = farm("report", "--out", tmp_path / name, "--data", PAPER)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["d.html", "d.md"]


def test_a_picture_that_is_not_ours_is_never_replaced_and_ours_always(farm, tmp_path):
    out, picture = tmp_path / "r.md", tmp_path / "r.png"
    picture.write_bytes(b"\x89PNG of a cat")
    refused = farm("report", "--out", out, "--data", PAPER)
    assert refused.code == 2
    assert "r.png" in refused.err
    assert picture.read_bytes() == b"\x89PNG of a cat"
    assert not out.exists()
    picture.unlink()
    assert farm("report", "--out", out, "--data", PAPER).code == 0
    first = (out.read_bytes(), picture.read_bytes())
    assert farm("report", "--out", out, "--data", PAPER).code == 0
    assert (out.read_bytes(), picture.read_bytes()) == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.md", "r.png"]


def test_what_fails_half_way_leaves_what_was_there(tmp_path):
    path = tmp_path / "r.md"
    path.write_text("before")

    def write() -> None:
        with atomic_write(path, "out") as file:
            file.write_text("half")
            Path("/dev/full").write_bytes(b"x" * 100_000)

    with pytest.raises(OperationError, match="No space left"):
        write()
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.md"]
    assert path.read_text() == "before"
