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
from analysis.report.inventory import rows_csv
from analysis.shipped import TRANSFORMERS as SHIPPED
from analysis.shipped import shipped_rows
from analysis.table import Table
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
    assert found["files"] == [str(out), str(tmp_path / "report.rows.csv")]
    with (tmp_path / "report.rows.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == found["rows"] == 201
    assert not (tmp_path / "report.png").exists()
    page = Page(out.read_text())
    assert {"html", "title", "h1", "table"} <= {tag for tag, _ in page.tags}
    assert not {"script", "b"} & {tag for tag, _ in page.tags}
    pictures = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(pictures) == 2
    assert all(str(picture["src"]).startswith("data:image/svg+xml;base64,") and picture["alt"] for picture in pictures)
    dark = [attributes for tag, attributes in page.tags if tag == "source"]
    assert all("dark" in str(source["media"]) for source in dark)
    assert len(dark) == 2
    assert out.stat().st_size < 3_000_000
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert HOSTILE in page.words
    assert any("France" in words for words in page.words)


def test_markdown_holds_names_as_text(farm, hostile, tmp_path):
    from markdown_it import MarkdownIt

    out = tmp_path / "report.md"
    assert farm("report", "--out", out, "--data", hostile).code == 0
    assert "<" not in re.sub(r"\\<", "", out.read_text())
    page = Page(MarkdownIt("commonmark").enable("table").render(out.read_text()))
    assert not {"script", "b", "em", "code"} & {tag for tag, _ in page.tags}
    assert [attributes["href"] for tag, attributes in page.tags if tag == "a"] == ["report.rows.csv"]
    pictures = [str(attributes["src"]) for tag, attributes in page.tags if tag == "img"]
    assert pictures == ["report.png", "report-2.png"]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    assert HOSTILE in page.words


def test_both_formats_say_the_same():
    blocks = [Paragraph("From a_b & c."), Grid(["model", "J"], [["a|b", "1.5"], ["_x_", "2"]]), Grid(["a"], [])]
    page = Page(to_html(blocks, "title"))
    words = [word.strip() for word in page.words if word.strip()]
    assert words[words.index("From a_b & c.") :] == [
        "From a_b & c.", "model", "J", "a|b", "1.5", "_x_", "2", "No rows.",
    ]  # fmt: skip
    assert to_markdown(blocks) == (
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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r-2.png", "r.md", "r.png", "r.rows.csv"]


def test_a_file_of_somebody_s_rows_is_never_replaced(farm, tmp_path):
    (tmp_path / "r.rows.csv").write_text("mine\n")
    refused = farm("report", "--out", tmp_path / "r.html", "--data", PAPER)
    assert refused.code == 2
    assert "r.rows.csv" in refused.err
    assert [path.name for path in tmp_path.iterdir()] == ["r.rows.csv"]


def test_models_are_compared_at_settings_alike(farm, tmp_path):
    """A median over unlike rows made the largest model look cleanest."""
    out = tmp_path / "report.md"
    assert farm("report", "--out", out, "--data", PAPER, "--country", "FRA").code == 0
    text = out.read_text()
    assert "one image of 1024x1024, 28 steps" in text
    lines = [line for line in text.splitlines() if "| a100 |" in line and "Wh)" in line]
    joules = [float(line.split("|")[3].split()[0]) for line in lines]
    assert len(joules) == 3
    assert joules == sorted(joules)
    assert "held out" in text


def test_the_file_of_rows_makes_the_same_fits_again(tmp_path):
    table = shipped_rows()
    path = tmp_path / "r.rows.csv"
    path.write_text(rows_csv(table), encoding="utf-8")
    again = Table.read(path)
    assert again.digest() == table.digest()
    assert again.flags.tolist() == table.flags.tolist()
    stated = {"energy_std_joules": 2.0, "duration_seconds": 60.0, "idle_watts": 70.5, "meter": "nvml",
              "power_limit_watts": 300.0, "clock_limit_mhz": 1200.0, "measured_at": "2026-03-23"}  # fmt: skip
    row = {**table.configuration(0).to_dict(), **stated}  # of seconds alone
    one = Table.of([row])
    path.write_text(rows_csv(one), encoding="utf-8")
    assert Table.read(path, energies=False).digest() == one.digest()


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
