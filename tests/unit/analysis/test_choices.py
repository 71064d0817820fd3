"""The front against its definition, and a table of scores that people write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import analysis
from analysis.choices import Quality, front
from farm.domain import Configuration, RequestError

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40)


@given(POINTS)
def test_the_front_is_what_no_other_betters(points: list[tuple[int, int]]) -> None:
    first, second = (np.array([p[i] for p in points], dtype=np.float64) for i in (0, 1))
    wanted = [not any(o != p and o[0] <= p[0] and o[1] <= p[1] for o in points) for p in points]
    assert front(first, second).tolist() == wanted


def answers() -> analysis.Predictions:
    rows = [
        Configuration(model="flux", gpu=gpu, width=512, height=512, steps=t, precision="fp16", cfg=False, prompts=1)
        for gpu in ("a100", "h100")
        for t in (10, 20)
    ]
    return analysis.predict(rows)


def test_scores_are_found_by_the_axes_that_the_table_has(tmp_path: Path) -> None:
    path = tmp_path / "quality.csv"
    path.write_text("model, resolution, steps, clip, note\nFLUX.1-dev,512x512,10,0.25,a\nflux,512,20,0.31,b\n")
    quality = Quality.read(path)
    assert quality.only_score() == "clip"
    assert quality.scores(answers(), "clip").tolist() == [0.25, 0.31, 0.25, 0.31]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "a header"),
        ("clip\n1\n", "a column of some of model"),
        ("model,steps\nflux,10\n", "one with a score"),
        ("model,clip\nflux,1\nFLUX,2\n", "row 2"),
        ("model,clip\nflux,good\n", "a number in every row"),
        ("model,steps,clip\nflux,ten,1\n", "row 1, steps"),
        ("model,clip\nfluxx,1\n", "did you mean flux"),
    ],
)
def test_a_table_without_use_is_refused(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "quality.csv"
    path.write_text(text)
    with pytest.raises(RequestError) as refusal:
        Quality.read(path)
    assert word in str(refusal.value)


def test_a_table_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "quality.csv"
    path.write_text("model,steps,clip\nflux,11,0.3\n")
    with pytest.raises(RequestError, match="model, steps are those"):
        Quality.read(path).scores(answers(), "clip")
