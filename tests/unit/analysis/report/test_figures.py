"""analysis.report.figures: the figures show the rows, and are files of the kind asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis import laws
from analysis.prediction import paper_rows
from analysis.report import figures
from analysis.table import DataError
from analysis.validation import held_out, in_sample
from farm.domain import RequestError


def test_actual_against_predicted_shows_every_row_and_the_identity() -> None:
    outcome = in_sample(laws.get("paper")(), paper_rows())
    (axes,) = figures.actual_against_predicted(outcome).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_xlim() == axes.get_ylim()
    points = sum(len(container.lines[0].get_xdata()) for container in axes.containers)
    assert points == 200
    identity = next(line for line in axes.get_lines() if line.get_label() == "identity")
    assert (identity.get_xdata() == identity.get_ydata()).all()
    assert "9.8%" in axes.get_title()


def test_a_split_is_drawn_with_its_test_rows_only() -> None:
    outcome = held_out(laws.get("paper")(), paper_rows(), train=["flux", "qwen"], test=["sd35"])
    (axes,) = figures.actual_against_predicted(outcome).axes
    assert len(axes.containers) == 1


def test_compute_split_adds_up_and_denoising_dominates() -> None:
    figure = figures.compute_split(["sd2", "flux"], (256, 1024))
    for axes in figure.axes:
        heights = np.array([[bar.get_height() for bar in bars] for bars in axes.containers])
        assert heights.sum(axis=0) == pytest.approx([100, 100])
        assert (heights[1] > 80).all()


def test_relative_energy_begins_at_one() -> None:
    (axes,) = figures.relative_energy(paper_rows().where(model="flux")).axes
    values = np.concatenate([line.get_ydata() for line in axes.get_lines()])
    assert len(values) == 80
    assert values.min() == 1.0
    with pytest.raises(DataError, match="model"):
        figures.relative_energy(paper_rows())


def test_no_rows_are_not_drawn() -> None:
    outcome = in_sample(laws.get("work")(), paper_rows())
    empty = type(outcome)(
        law="work", train=(), test=(), n_train=0, table=outcome.table[:0], measured_joules=np.zeros(0),
        predicted_joules=np.zeros(0), low_joules=np.zeros(0), high_joules=np.zeros(0), level=0.9,
    )  # fmt: skip
    with pytest.raises(DataError, match="rows"):
        figures.actual_against_predicted(empty)


def test_files_by_suffix(tmp_path: Path) -> None:
    figure = figures.compute_split(["sd2"], (256,))
    assert figures.save(figure, tmp_path / "one.svg") == [tmp_path / "one.svg"]
    assert figures.save(figure, tmp_path / "v1.2") == [tmp_path / "v1.2.png", tmp_path / "v1.2.svg"]
    with pytest.raises(RequestError, match="out"):
        figures.save(figure, tmp_path / "missing" / "one.png")
