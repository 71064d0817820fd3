"""analysis.report.figures: the figures show the rows, say what they show, and are files of the kind asked for."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from analysis import laws
from analysis.prediction import paper_rows
from analysis.report import figures
from analysis.report.figures import render, theme
from analysis.table import DataError, Table
from analysis.validation import held_out, in_sample
from farm.domain import RequestError


def test_actual_against_predicted_shows_every_row_the_identity_and_the_residuals() -> None:
    outcome = in_sample(laws.get("paper")(), paper_rows())
    picture = figures.actual_against_predicted(outcome)
    spec = picture.spec()
    assert len(spec["datasets"]["panel0"]) == 200
    assert all(end["measured"] == end["predicted"] for end in spec["datasets"]["identity"])
    row = picture.rows[0]
    assert row["residual"] == pytest.approx(100 * (row["predicted"] / row["measured"] - 1))
    assert "9.8% mean error, 200 rows" in json.dumps(spec)
    assert "9.8% mean error, 200 rows" in picture.alt


def test_a_split_is_drawn_with_its_test_rows_only_and_says_so() -> None:
    outcome = held_out(laws.get("paper")(), paper_rows(), train=["flux", "qwen"], test=["sd35"])
    picture = figures.actual_against_predicted(outcome)
    assert {row["model"] for row in picture.rows} == {"sd35"}
    assert "sd35 held out" in picture.alt


def test_simulated_rows_are_marked_in_title_and_axis() -> None:
    rows = [c.to_dict() | {"energy_joules": 5.0 * c.steps, "flags": "simulated"} for c in paper_rows().configurations()]
    outcome = in_sample(laws.get("paper")(), Table.from_rows(rows))
    text = json.dumps(figures.actual_against_predicted(outcome).spec())
    assert "simulated energy, J and Wh" in text
    assert "imulated rows in gray" in text


def test_a_model_keeps_its_colour_and_every_colour_can_be_told_from_the_ground() -> None:
    assert len({theme.colour(model) for model in theme.PAPER_MODELS}) == 4
    assert theme.colour("somebody's own") == theme.colour("somebody's own")

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    for ground in (theme.LIGHT, theme.DARK):
        for name in ("ink", "quiet"):
            lighter, darker = sorted((luminance(ground[name]), luminance(ground["ground"])), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5


@pytest.mark.parametrize(("low", "high", "ticks"), [(900, 2e6, [1e3, 1e4, 1e5, 1e6]), (3, 30, [5, 10, 20])])
def test_a_log_axis_is_labelled_at_decades_or_between_them(low, high, ticks) -> None:
    assert theme.ticks(low, high) == ticks


def test_compute_split_shows_that_denoising_dominates() -> None:
    picture = figures.compute_split(["sd2", "flux"], (256, 1024), steps=50)
    for model in ("sd2", "flux"):
        parts = {row["part"]: row["gflops"] for row in picture.rows
                 if (row["model"], row["side"], row["counted"]) == (model, 1024, "exact")}  # fmt: skip
        assert parts["denoising"] / sum(parts.values()) > 0.8


def test_relative_energy_begins_at_one() -> None:
    picture = figures.relative_energy(paper_rows().where(model="flux"))
    values = [row["relative"] for row in picture.rows]
    assert len(values) == 80
    assert min(values) == 1.0
    assert "410 times the cheapest" in picture.alt
    with pytest.raises(DataError, match="model"):
        figures.relative_energy(paper_rows())


def test_no_rows_are_not_drawn() -> None:
    outcome = in_sample(laws.get("paper")(), paper_rows())
    empty = type(outcome)(
        law="work", train=(), test=(), n_train=0, table=outcome.table[:0], measured_joules=np.zeros(0),
        predicted_joules=np.zeros(0), low_joules=np.zeros(0), high_joules=np.zeros(0), level=0.9,
    )  # fmt: skip
    with pytest.raises(DataError, match="rows"):
        figures.actual_against_predicted(empty)


def test_files_by_suffix_each_what_it_says(tmp_path: Path) -> None:
    picture = figures.compute_split(["sd2"], (256,))
    (page,) = figures.save(picture, tmp_path / "one.html")
    text = page.read_text()
    assert "vegaEmbed" in text
    markup = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert markup.count("<script") == 0  # each is in the page itself
    assert not re.search(r"<(link|img)[^>]+(src|href)=", markup)
    assert figures.save(picture, tmp_path / "v1.2") == [tmp_path / "v1.2.png", tmp_path / "v1.2.svg"]
    content = (tmp_path / "v1.2.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert b"Software\0joulefarm" in content[:200]
    texts = {node.text for node in ElementTree.fromstring((tmp_path / "v1.2.svg").read_text()).iter() if node.text}
    assert "GFLOPs of an image" in texts  # text as text
    (table,) = figures.save(picture, tmp_path / "rows.csv")
    with table.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(picture.rows)
    for name in (tmp_path / "missing" / "one.png", ""):
        with pytest.raises(RequestError, match="out"):
            figures.save(picture, name)


def test_names_of_strangers_are_text_in_a_page() -> None:
    hostile = "</script><script>alert(1)</script>"
    rows = [c.to_dict() | {"energy_joules": 5.0 * c.steps, "dataset": hostile} for c in paper_rows().configurations()]
    outcome = in_sample(laws.get("paper")(), Table.from_rows(rows))
    page = render.html(figures.actual_against_predicted(outcome), hostile)
    assert hostile not in page
