"""What measured rows settle, and what they leave in doubt: of their own shapes, of factors, of rows beside them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from analysis.laws.work.effects import LEARNED, SPREADS
from analysis.laws.work.laboratories import Idles
from analysis.laws.work.law import WorkLaw, load
from analysis.prediction import paper_rows
from analysis.table import Table
from farm.domain.errors import FarmError, RequestError

BASE: dict[str, Any] = {
    "model": "sd2", "gpu": "a100", "width": 512, "height": 512, "steps": 20, "precision": "fp16", "cfg": False,
    "prompts": 8, "batch": 1,
}  # fmt: skip
REPEATS = 30


def test_a_shape_that_departs_from_physics_is_predicted_as_it_was_measured_often() -> None:
    """Energies 5% above and below what the rest says, in turn, and seconds the other way round."""
    shapes = [BASE | {"width": w, "height": h} for w, h in product((256, 512, 768, 1024), repeat=2)]
    plain = WorkLaw().fit(paper_rows()[:0]).forecast(shapes)
    assert plain.seconds is not None
    away = 0.05 * (-1.0) ** np.arange(len(shapes))
    joules, seconds = plain.joules * np.exp(away), plain.seconds * np.exp(-away)
    told = [
        shape | {"energy_joules": j, "duration_seconds": s}
        for shape, j, s in zip(shapes, joules.tolist(), seconds.tolist(), strict=True)
    ]
    found = WorkLaw().fit(told * REPEATS).forecast(shapes)
    assert found.seconds is not None
    assert found.joules == pytest.approx(joules, rel=0.01)
    assert found.seconds == pytest.approx(seconds, rel=0.01)


def test_what_is_left_in_doubt_of_a_row_measured_often_is_the_noise_of_a_run() -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, REPEATS)
    law = WorkLaw().fit([BASE | {"energy_joules": 5000.0 * float(np.exp(e))} for e in noise - noise.mean()])
    outlook = law.outlook([BASE], level=0.8)
    assert outlook.forecast.joules == pytest.approx([5000.0], rel=0.005)
    assert np.sqrt(outlook.noise) == pytest.approx([0.02], rel=0.2)
    assert 0.5 < np.sqrt(outlook.covariance[0, 0] / outlook.noise[0] * REPEATS) < 1.5  # the error of a mean
    half = t.ppf(0.9, outlook.degrees) * np.sqrt(np.diag(outlook.covariance) + outlook.noise)
    assert np.log(outlook.forecast.high / outlook.forecast.low) / 2 == pytest.approx(half)


def test_no_factor_is_less_sure_than_before_any_row() -> None:
    law = WorkLaw().fit(paper_rows()[::4])
    scale = law.params_["spread_of_models"]
    read = 0
    for kind, what in [(kind, what) for kind, spreads in SPREADS.items() if kind != "shared" for what in spreads]:
        column, before = f"factor_{kind}_{what}", SPREADS[kind][what] * (scale if kind in LEARNED else 1.0)
        for name, std in law.params_std_.get(column, {}).items():
            assert 0 < std / law.params_[column][name] < 1.02 * before, (column, name)
            read += 1
    assert read > 50


def test_without_rows_an_interval_counts_ten_effects() -> None:
    (degrees,) = WorkLaw().fit(paper_rows()[:0]).outlook([BASE]).degrees
    assert degrees == pytest.approx(10)


def test_rows_with_idle_and_without_are_each_predicted_as_alone() -> None:
    law = WorkLaw().fit(paper_rows()[::4])
    rows = [BASE, BASE | {"includes_idle": 1}, BASE | {"idle_watts": 100.0}, BASE | {"idle_watts": 0.5}]
    together = law.predict(rows)
    assert together == pytest.approx([float(law.predict([row])[0]) for row in rows], rel=1e-12)
    assert together[1] > together[3] > together[0] > together[2]


def test_of_an_idle_that_takes_off_more_than_all_a_tenth_is_left() -> None:
    law = WorkLaw().fit(paper_rows()[:0])
    (much,) = law.predict([BASE | {"idle_watts": 5000.0}])
    assert much == pytest.approx(0.1 * float(law.predict([BASE])[0]))


def test_an_idle_that_rows_state_is_taken_however_little_it_is() -> None:
    assert Idles.of(Table.of([BASE | {"energy_joules": 1.0, "idle_watts": 0.5}])).stated["a100"] == {"": 0.5}


def test_a_model_of_which_only_seconds_are_known_is_fitted_beside_others() -> None:
    energies = [BASE | {"energy_joules": 250.0 * s, "steps": s} for s in (10, 20, 40)]
    plain = WorkLaw().fit(energies)
    other = BASE | {"model": "flux"}
    told = 1.3 * float(plain.predict_seconds([other])[0])
    law = WorkLaw().fit([other | {"duration_seconds": told}, *energies])
    assert abs(np.log(law.predict_seconds([other])[0] / told)) < 0.1
    assert law.predict([other])[0] > 1.05 * plain.predict([other])[0]
    assert law.params_["noise_of_model"].keys() == {"sd2"}


def test_rows_of_two_frames_of_a_model_of_images_are_left_out() -> None:
    rows = [BASE | {"energy_joules": 5000.0}, BASE | {"energy_joules": 5000.0, "frames": 2}]
    law = WorkLaw().fit(rows)
    assert law.n_ == 1
    assert [entry["name"] for entry in law.left_out_] == ["model sd2 makes images, of one frame"]


@pytest.mark.parametrize("ask", [WorkLaw.predict, WorkLaw.forecast, WorkLaw.outlook])
def test_two_frames_of_a_model_of_images_are_not_answered(ask: Callable[..., Any]) -> None:
    law = WorkLaw().fit(paper_rows()[:0])
    with pytest.raises(RequestError, match="frames: 2: 1: sd2 makes images"):
        ask(law, [BASE, BASE | {"frames": 2}])
    ask(law, [BASE, BASE | {"model": "wan2.1-1.3b", "frames": 5, "width": 480, "height": 480}])


def test_a_model_whose_work_cannot_be_told_is_left_out_and_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> None:
        raise FarmError(f"no work of {name}")

    rows = [BASE | {"energy_joules": 5000.0}]
    assert WorkLaw().fit(rows).n_ == 1
    monkeypatch.setattr(load, "load", unknown)
    law = WorkLaw().fit(rows)
    assert law.n_ == 0
    assert [entry["name"] for entry in law.left_out_] == ["model sd2: its work is not known (no work of sd2)"]
