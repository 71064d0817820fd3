"""The figure of many predictions: what is written beside the points of its front."""

from __future__ import annotations

from typing import Any

import pytest

import analysis
from analysis.choices import Quality, with_front
from analysis.report.tradeoff import tradeoff

SCORES = {"sd15": 0.3, "sdxl": 0.36}


def answers() -> Any:
    asked = [
        {
            "model": model,
            "gpu": gpu,
            "resolution": 512,
            "steps": 20,
            "precision": "fp16",
            "cfg": 0,
            "prompts": 1,
        }
        for model in SCORES
        for gpu in ("a100", "h100")
    ]
    return analysis.predict(asked)


def test_points_are_named_by_what_tells_them_apart() -> None:
    picture = tradeoff(with_front(answers(), "seconds"), "seconds")
    assert {row["name"] for row in picture.rows} == {"sd15 a100", "sd15 h100", "sdxl a100", "sdxl h100"}
    assert all(row["labelled"] <= row["on_front"] for row in picture.rows)


@pytest.mark.parametrize(("against", "align"), [("seconds", "right"), ("-fid", "right"), ("fid", "left")])
def test_names_lie_where_nothing_else_can(tmp_path: Any, against: str, align: str) -> None:
    """Below the point, on the side of what is better than it."""
    table = tmp_path / "scores.csv"
    table.write_text("model,fid\n" + "".join(f"{model},{score}\n" for model, score in SCORES.items()))
    quality = None if against == "seconds" else Quality.read(table)
    document = tradeoff(with_front(answers(), against, quality), against).chart.to_dict()
    (named,) = [layer for layer in document["layer"] if layer["mark"]["type"] == "text"]
    assert (named["mark"]["align"], named["mark"]["dy"] > 0) == (align, True)
    assert (named["mark"]["dx"] < 0) == (align == "right")
