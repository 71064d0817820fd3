"""farm reproduce: the paper's figures and tables from rows at hand, what is missing said, what is simulated marked."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from analysis.report import reproduce
from analysis.report.figures import csv_text
from analysis.shipped import shipped_rows
from analysis.table import Table


@pytest.fixture(scope="module")
def paper():
    return shipped_rows("paper")


def test_the_fits_of_table_1_are_those_printed_within_their_rounding(paper) -> None:
    made = reproduce.table(1, paper)
    assert made.missing is None
    by_name = {(line["model"], line["coefficient"]): line for line in made.rows}
    assert by_name["flux", "alpha"]["paper"] == 0.989
    assert by_name["flux", "R² of ln E"]["here"] == pytest.approx(0.9998, abs=1e-4)
    assert all(abs(line["difference"]) < 0.3 for line in made.rows if line["difference"] is not None)


def test_what_no_row_shows_is_missing_and_comes_out_simulated(paper) -> None:
    for number in (3, 8):
        made = reproduce.figure(number, paper)
        assert made.picture is None
        assert "on a6000" in str(made.missing)
    five = reproduce.figure(5, paper)
    assert five.picture is not None  # part (a) is of the A100
    assert "a4000" in str(five.missing)
    filled = reproduce.with_simulated(paper)
    made = reproduce.figure(3, filled)
    assert made.missing is None
    assert {(row["gpu"], row["origin"]) for row in made.rows} == {("a100", "measured"), ("a6000", "simulated")}
    assert reproduce.table(9, filled).rows == reproduce.table(9, paper).rows  # what is simulated teaches nothing
    text = json.dumps(made.picture.spec())
    assert "imulated rows in gray" in text
    assert "measured and simulated energy" in text
    origins = {line["origin"] for line in reproduce.table(2, filled).rows}
    assert origins == {"measured and simulated"}


def test_held_out_panels_never_show_what_they_were_fitted_to(paper) -> None:
    made = reproduce.figure(4, paper)
    tested = [row for row in made.rows if " from " in row["panel"]]
    assert {(row["panel"].split(" from ")[0], row["model"]) for row in tested} == {
        ("(a) FLUX", "flux"), ("(b) Qwen-Image", "qwen"), ("(c) SD 3.5", "sd35"),
    }  # fmt: skip


def test_energies_stand_beside_what_is_at_hand_and_a_prediction_that_never_saw_the_model(paper) -> None:
    made = reproduce.table(9, paper)
    assert len(made.rows) == 40
    assert made.missing is None
    first = made.rows[0]
    assert first["paper_joules"] == first["measured_joules"] == 18300
    assert first["predicted_joules"] != first["paper_joules"]
    less = reproduce.table(9, paper.where(model=["flux", "sd35"]))
    assert less.missing == "rows of qwen on a100: 40 of 40 settings"


def test_rows_without_an_energy_above_idle_are_missing(farm, tmp_path: Path, paper) -> None:
    columns = paper.to_columns() | {"duration_seconds": np.full(len(paper), 60.0)}
    idle = Table.from_columns(columns | {"includes_idle": np.ones(len(paper), dtype=np.bool_)})
    assert reproduce.table(9, idle).missing == "rows of qwen on a100: 40 of 40 settings"
    seconds = Table.from_columns(columns | {"energy_joules": np.full(len(paper), np.nan)})
    for number in (2, 4, 6, 7):
        assert "flux on a100" in str(reproduce.figure(number, seconds).missing)
    made = reproduce.table(6, seconds)
    assert made.missing == "rows of flux on a100: 80 of 80 settings"
    assert {line["measured_joules"] for line in made.rows} == {None}
    assert {line["here"] for line in reproduce.table(1, seconds).rows} == {None}
    file = tmp_path / "seconds.csv"
    file.write_text(
        csv_text([{**c.to_dict(), "energy_joules": "", "duration_seconds": 60} for c in paper[::4].configurations()])
    )
    assert farm("reproduce", "--out", tmp_path / "figures", "--data", file).code == 0


def test_the_command_writes_what_it_can_and_says_the_rest(farm, tmp_path: Path) -> None:
    out = tmp_path / "paper"
    document = json.loads(farm("reproduce", "--out", out, "--figure", 6, "--figure", 3, "--table", 1, "--json").out)
    assert [Path(name).name for name in document["figures"]["6"]["files"]] == [
        "figure6.png", "figure6.svg", "figure6.csv",
    ]  # fmt: skip
    assert document["figures"]["6"]["missing"] is None
    assert document["figures"]["3"]["files"] == []
    assert "a6000" in document["figures"]["3"]["missing"]
    with (out / "table1.csv").open(newline="") as file:
        assert {row["model"] for row in csv.DictReader(file)} == {"flux", "sd35", "qwen"}
    assert set(document["tables"]) == {"1"}


@pytest.mark.parametrize("words", [("--figure", "9"), ("--table", "3"), ("--out", "")])
def test_what_the_paper_does_not_have_is_refused_and_nothing_written(farm, tmp_path: Path, words) -> None:
    outcome = farm("reproduce", "--out", tmp_path / "x", *words)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert not (tmp_path / "x").exists()
