"""Predictions of many configurations: the same as one by one, the fit kept, and what energy stands for."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pyarrow
import pytest

import analysis
from analysis import fitted
from analysis.cli.answers import emit_many
from analysis.costs import Terms
from analysis.prediction import refusals
from analysis.table import Table
from farm.domain import Configuration, RequestError

ASKED = {"model": "flux", "gpu": "a100", "resolution": 1024, "steps": 28, "precision": "fp16"}
MANY = [
    Configuration(model=model, gpu=gpu, width=512, height=512, steps=20, precision="fp16", cfg=cfg, prompts=n)
    for model, gpu, cfg, n in (("sd2", "a100", True, 1), ("flux", "h100", False, 10), ("flux", "a4000", False, 1))
]


def test_a_list_a_frame_and_one_by_one_say_the_same() -> None:
    pandas = pytest.importorskip("pandas")
    listed = analysis.predict(MANY)
    frame = analysis.predict(pandas.DataFrame([c.to_dict() for c in MANY]))
    assert [p.to_dict() for p in listed] == [p.to_dict() for p in frame]
    single = analysis.predict(MANY[1])
    assert single.configuration == MANY[1]
    assert single.energy_joules == pytest.approx(listed[1].energy_joules, rel=1e-12)
    assert (single.fits, listed[2].fits) == (True, False)
    assert "17.2 GB" in str(listed[2].fits_why)


def test_a_video_takes_what_its_frames_do() -> None:
    asked = {"model": "wan2.1-1.3b", "gpu": "h100", "resolution": (832, 480), "steps": 50, "precision": "bf16"}
    image, short, long = (analysis.predict(**asked, cfg=True, frames=n) for n in (1, 41, 81))
    assert long.configuration.frames == 81
    assert 2 * short.energy_joules < long.energy_joules < 4 * short.energy_joules  # attention is of all frames
    assert long.phases["text"] == pytest.approx(image.phases["text"])
    assert long.phases["decode"] == pytest.approx(2 * short.phases["decode"], rel=0.1)
    assert "a video" in long.rests_on
    assert "a video" not in image.rests_on
    assert (long.fits, "not estimated" in str(long.fits_why)) == (None, True)
    assert analysis.predict(**{**asked, "gpu": "a4000", "model": "wan2.1-14b"}, frames=81).fits is False
    frame = [{**long.configuration.to_dict(), "frames": n} for n in (81, 1)]
    assert [p.energy_joules for p in analysis.predict(frame)] == pytest.approx(
        [long.energy_joules, image.energy_joules]
    )


def test_the_fit_is_kept_for_the_next_call() -> None:
    analysis.predict(**ASKED)
    kept = list(fitted._kept.values())
    began = time.process_time()
    analysis.predict(**ASKED)
    assert time.process_time() - began < 0.15
    assert list(fitted._kept.values()) == kept
    rows = analysis.paper_rows()
    other = analysis.predict(**ASKED, data=rows.where(model="qwen"))
    assert other.energy_joules != analysis.predict(**ASKED, data=rows).energy_joules


def test_carbon_and_cost_are_of_the_energy_with_idle() -> None:
    terms = Terms(grams_per_kwh=100.0, price=0.5, pue=1.2, host_watts=250.0, per_day=1000)
    answer = analysis.predict(MANY, terms=terms)[1]
    plain = analysis.predict(MANY)[1]
    assert plain.duration_seconds is not None
    assert plain.energy_joules_with_idle == pytest.approx(plain.energy_joules + 75 * plain.duration_seconds)
    joules = plain.energy_joules_with_idle + 250 * plain.duration_seconds
    assert answer.energy_joules == plain.energy_joules
    assert answer.energy_joules_with_idle == pytest.approx(joules)
    assert answer.grams_co2e == pytest.approx(joules * 1.2 / 3.6e6 * 100)
    assert answer.cost == pytest.approx(joules * 1.2 / 3.6e6 * 0.5)
    assert answer.low_grams_co2e < answer.grams_co2e < answer.high_grams_co2e  # type: ignore[operator]
    assert answer.per_day is not None
    assert answer.per_day["grams_co2e"] == pytest.approx(answer.grams_co2e * 100)
    assert answer.per_day["kilowatt_hours"] == pytest.approx(plain.energy_joules * 100 / 3.6e6)
    for words in ("75 W", "250 W of the rest of the host", "PUE of 1.2"):
        assert words in answer.counted
    assert (plain.grams_co2e, plain.cost, plain.per_day) == (None, None, None)


def test_a_law_that_knows_no_time_knows_no_energy_with_idle() -> None:
    answer = analysis.predict(**ASKED, law="paper", terms=Terms(country="FR"))
    assert answer.energy_joules > 0
    assert (answer.duration_seconds, answer.energy_joules_with_idle, answer.grams_co2e) == (None, None, None)
    assert "knows no time" in answer.counted


def test_predictions_go_to_where_people_look_at_them() -> None:
    answers = analysis.predict(MANY)
    table = pyarrow.table(answers)
    assert table.num_rows == len(answers) == 3
    assert table["energy_joules"].to_pylist() == answers.to_pandas()["energy_joules"].tolist()
    assert "sd2" in repr(answers)
    assert [p.configuration for p in answers[1:]] == MANY[1:]


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({**ASKED, "model": "fluxx"}, "did you mean flux"),
        ({**ASKED, "gpu": "z100"}, "known: "),
        ({**ASKED, "steps": None}, "steps"),
        ({**ASKED, "resolution": 1000}, "multiples of 16"),
        ({**ASKED, "configurations": MANY}, "not both"),
        ({"configurations": [{**ASKED, "cfg": 0, "prompts": 1, "model": "gone"}]}, "row 1, model"),
    ],
)
def test_a_wrong_question_is_refused(asked: dict[str, Any], word: str) -> None:
    with pytest.raises(RequestError) as refusal:
        analysis.predict(**asked)
    assert word in str(refusal.value)


@pytest.mark.parametrize(
    "terms",
    [{"pue": 0.5}, {"price": -1.0}, {"host_watts": np.nan}, {"per_day": 0}, {"country": "FR", "grams_per_kwh": 1.0}],
)
def test_impossible_terms_are_refused(terms: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        Terms(**terms)


def test_the_document_of_many_is_that_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    asked = [
        Configuration(
            model=model, gpu=gpu, width=512, height=512, steps=steps, precision="fp16", cfg=False, prompts=3
        )
        for model in ("flux", "wan2.1-1.3b") for gpu in ("a100", "a4000") for steps in (10, 20)
    ]  # fmt: skip
    for terms in (Terms(), Terms(country="FR", price=0.3, per_day=1000, host_watts=100.0)):
        answers = analysis.predict(asked, terms=terms)
        emit_many(answers, [])
        assert json.loads(capsys.readouterr().out)["predictions"] == answers.to_dicts()


def test_rows_are_refused_by_what_is_wrong_with_each() -> None:
    one = {"resolution": 512, "precision": "fp16", "cfg": 0, "prompts": 1}
    table = Table.of(
        [
            {**one, "model": "qwen", "gpu": "a100", "steps": 20},
            {**one, "model": "qwen", "gpu": "a100", "steps": 1},
            {**one, "model": "flux", "gpu": "a100", "steps": 1},
            {**one, "model": "qwen", "gpu": "h100", "steps": 1, "resolution": 500},
            {**one, "model": "qwen", "gpu": "h100", "steps": 30, "resolution": 500},
            {**one, "model": "flux", "gpu": "quantum", "steps": 10},
        ]
    )
    found = {row: error.field for row, error in refusals(table).items()}
    assert found == {1: "steps", 3: "width", 4: "width", 5: "gpu"}
