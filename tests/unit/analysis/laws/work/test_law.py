"""The law ``work``: what physics demands of it, wherever it was fitted."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from analysis.laws.base import Law
from analysis.laws.work.law import WorkLaw
from analysis.prediction import paper_rows
from analysis.shipped import shipped_rows
from analysis.table import Table
from farm import catalog
from farm.domain import RequestError

BASE: dict[str, Any] = {
    "model": "flux", "gpu": "a100", "width": 512, "height": 512, "steps": 20, "precision": "fp16", "cfg": False,
    "prompts": 8, "batch": 1,
}  # fmt: skip
MODELS = ("flux", "qwen", "sd2", "sd35")


@pytest.fixture(scope="module", params=["paper", "no rows"])
def law(request: pytest.FixtureRequest) -> WorkLaw:
    return WorkLaw().fit(paper_rows() if request.param == "paper" else paper_rows()[:0])


def joules(law: WorkLaw, **changes: Any) -> float:
    return float(law.predict([BASE | changes])[0])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("gpu", ["a100", "b200", "a4000"])
def test_energy_grows_with_steps_size_and_prompts(law: WorkLaw, model: str, gpu: str) -> None:
    for name, values in (("steps", (10, 11, 50)), ("width", (256, 512, 768, 1024)), ("prompts", (1, 2, 9))):
        energies = [joules(law, model=model, gpu=gpu, **{name: value}) for value in values]
        assert (np.diff(energies) > 0).all(), name


def test_energy_is_linear_in_prompts_and_steps(law: WorkLaw) -> None:
    assert joules(law, prompts=80) == pytest.approx(10 * joules(law))
    by_steps = [joules(law, steps=steps) for steps in (10, 20, 30)]
    assert by_steps[2] - by_steps[1] == pytest.approx(by_steps[1] - by_steps[0])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("side", [256, 1024])
def test_guidance_costs_up_to_a_second_pass(law: WorkLaw, model: str, side: int) -> None:
    sizes = {"width": side, "height": side, "model": model}
    assert 1.0 < joules(law, cfg=True, **sizes) / joules(law, **sizes) < 2.1


def test_a_batch_of_images_costs_less_than_one_by_one_and_the_remainder_counts(law: WorkLaw) -> None:
    assert 0.5 * joules(law) < joules(law, batch=8) < joules(law)
    # A batch of its own size is a shape of its own: none of the paper's rows has one, so that none carries a deviation.
    whole, rest = joules(law, prompts=8, batch=4), joules(law, prompts=2, batch=2)
    assert joules(law, prompts=10, batch=4) == pytest.approx(whole + rest, rel=1e-9)


def test_bf16_counts_as_fp16_where_the_gpu_runs_both_alike_and_fp32_costs_more() -> None:
    law = WorkLaw().fit(paper_rows()[:0])
    for model in MODELS:
        assert joules(law, model=model, precision="bf16") == pytest.approx(joules(law, model=model), rel=0.2)
    assert joules(law, precision="fp32") > 3 * joules(law)


def test_every_gpu_of_the_catalog_is_predicted_within_its_board_power(law: WorkLaw) -> None:
    rows = [BASE | {"gpu": gpu, "width": 1024, "height": 1024} for gpu in sorted(catalog.gpus())]
    energy, low, high = law.predict(rows, level=0.9)
    power = energy / law.predict_seconds(rows)
    for gpu, watts in zip(sorted(catalog.gpus()), power, strict=True):
        assert 5 < watts < catalog.gpu(gpu).board_power_watts * 1.1, gpu
    assert ((low > 0) & (low < energy) & (energy < high)).all()
    guessed = np.array([catalog.gpu(gpu).is_processor for gpu in sorted(catalog.gpus())])
    assert (high[~guessed] < 3 * energy[~guessed]).all()
    assert (high[guessed] > 100 * energy[guessed]).all()  # no figure of the host's processor is published


def test_phases_add_up_and_denoising_leads(law: WorkLaw) -> None:
    phases = law.predict_phases([BASE])
    assert sum(float(v[0]) for v in phases.values()) == pytest.approx(joules(law))
    assert phases["denoise"][0] > phases["text"][0] + phases["decode"][0]
    assert all(v[0] > 0 for v in phases.values())


def test_no_coefficient_is_negative_and_readings_are_physical(law: WorkLaw) -> None:
    shares = {name: value for name, value in law.params_.items() if name.startswith("share_")}
    assert len(shares) == 6
    assert all(0.05 < value < 1.5 for value in shares.values())
    assert 3 < law.params_["launch_microseconds"] < 40


def test_without_rows_the_interval_is_wide_and_rows_narrow_it() -> None:
    widths = []
    for rows in (paper_rows()[:0], paper_rows().where(model=["sd35", "qwen"]), paper_rows()):
        _, low, high = WorkLaw().fit(rows).predict([BASE], level=0.9)
        widths.append(float(high[0] / low[0]))
    assert widths[0] > 1.5
    assert widths[0] > widths[1] > widths[2]


def test_a_factor_on_all_energies_is_taken_up_by_few_rows() -> None:
    rows = paper_rows().where(model="flux")
    few = np.arange(0, len(rows), 10)
    law = WorkLaw().fit(rows[few], 1.3 * rows.energy_joules[few])
    assert np.abs(law.predict(rows) / (1.3 * rows.energy_joules) - 1).mean() < 0.04


def test_one_outlier_does_not_move_the_law() -> None:
    rows = paper_rows().where(model="flux")
    energies = rows.energy_joules.copy()
    energies[17] *= 5
    law = WorkLaw().fit(rows, energies)
    others = np.arange(len(rows)) != 17
    assert np.abs(law.predict(rows)[others] / rows.energy_joules[others] - 1).mean() < 0.02


def test_rows_of_their_own_uncertainty_count_less() -> None:
    rows = [dict(BASE, steps=s, energy_joules=1000.0 * s, energy_std_joules=1.0) for s in (10, 20, 30)]
    precise = WorkLaw().fit(rows).predict([BASE])[0]
    vague = WorkLaw().fit([row | {"energy_std_joules": 0.9 * row["energy_joules"]} for row in rows]).predict([BASE])[0]
    prior = WorkLaw().fit(paper_rows()[:0]).predict([BASE])[0]
    assert abs(np.log(precise / 20000)) < 0.05
    assert abs(np.log(vague / prior)) < 0.5 * abs(np.log(precise / prior))


def test_what_cannot_be_placed_is_left_out_and_listed() -> None:
    good = [dict(BASE, steps=s, energy_joules=500.0 * s) for s in (10, 20, 30)]
    bad = [good[0] | {"model": "mystery"}, good[1] | {"gpu": "abacus"}]
    law = WorkLaw().fit([*good, *bad])
    assert law.n_ == 3
    assert {entry["count"] for entry in law.left_out_} == {1}
    assert [number for entry in law.left_out_ for number in entry["numbers"]] == [4, 5]
    for row in bad:
        with pytest.raises(RequestError, match=r"mystery|abacus"):
            law.predict([row])


def test_saved_and_loaded_it_predicts_the_same_intervals_too() -> None:
    law = WorkLaw().fit(paper_rows()[::3])
    again = Law.from_json(law.to_json())
    rows = paper_rows()[::7]
    for one, other in zip(law.predict(rows, level=0.8), again.predict(rows, level=0.8), strict=True):
        assert (one == other).all()
    assert (law.predict_seconds(rows) == again.predict_seconds(rows)).all()


def test_a_warm_start_ends_where_a_cold_one_does() -> None:
    warm = WorkLaw().fit(paper_rows()[::2]).updated(paper_rows())
    cold = WorkLaw().fit(paper_rows())
    assert warm.predict(paper_rows()) == pytest.approx(cold.predict(paper_rows()), rel=1e-5)


def test_measured_seconds_set_the_pace() -> None:
    rows = paper_rows()[::10]
    law = WorkLaw().fit(rows)
    timed = Table.from_rows(
        c.to_dict() | {"energy_joules": e, "duration_seconds": 1.2 * s}
        for c, e, s in zip(rows.configurations(), rows.energy_joules, law.predict_seconds(rows), strict=True)
    )
    assert WorkLaw().fit(timed).predict_seconds(rows) == pytest.approx(1.2 * law.predict_seconds(rows), rel=0.02)


def timed(law: WorkLaw, rows: list[dict[str, Any]], **columns: Any) -> Table:
    """Rows as the law predicts them, energies and seconds; further columns beside."""
    answer = law.forecast(rows)
    pairs = zip(rows, answer.joules.tolist(), answer.seconds.tolist(), strict=True)
    return Table.of([row | {"energy_joules": j, "duration_seconds": s} | columns for row, j, s in pairs])


GRID = [
    dict(BASE, model=model, width=side, height=side, steps=steps)
    for model in ("sd2", "flux")
    for side in (256, 512, 1024)
    for steps in (10, 30)
]


def test_idle_power_in_an_energy_is_told_apart_from_the_rest() -> None:
    """A laboratory whose idle is 75 W where the catalog says 58 W: its rows say that it is more, so that what is above
    it is found better than by taking the catalog's off beforehand; totals are predicted as they are measured."""
    prior = WorkLaw().fit(paper_rows()[:0])
    plain = timed(prior, GRID)
    columns = {name: getattr(plain, name) for name in ("model", "gpu", "width", "height", "steps", "precision", "cfg")}
    columns |= {"prompts": plain.prompts, "duration_seconds": plain.duration_seconds, "includes_idle": [1] * len(plain)}
    total = Table.from_columns({**columns, "energy_joules": plain.energy_joules + 75 * plain.duration_seconds})
    law = WorkLaw().fit(total)
    error = np.abs(np.log(law.predict(GRID) / plain.energy_joules))
    taken_off = np.log((total.energy_joules - 58 * total.duration_seconds) / plain.energy_joules)
    assert error.mean() < 0.9 * taken_off.mean()
    (idle,) = law.params_["factor_host_idle"].values()
    assert 1.03 < idle < 75 / 58 + 0.05
    again = law.predict(Table.from_columns({**columns, "energy_joules": total.energy_joules}))
    assert again == pytest.approx(total.energy_joules, rel=0.03)
    assert (again > 1.1 * law.predict(GRID)).all()


def test_what_a_laboratory_took_off_as_idle_is_known_by_what_it_states() -> None:
    """With 100 W taken off instead of 58 W the same work shows 42 W less, and its rows say so themselves."""
    prior = WorkLaw().fit(paper_rows()[:0])
    plain = timed(prior, GRID)
    less = [
        row | {"energy_joules": float(j) - 42 * float(s), "duration_seconds": float(s), "idle_watts": 100.0}
        for row, j, s in zip(GRID, plain.energy_joules, plain.duration_seconds, strict=True)
    ]
    law = WorkLaw().fit(less)
    assert law.predict(less) == pytest.approx([row["energy_joules"] for row in less], rel=0.02)
    at_rest = [row | {"idle_watts": 58.0} for row in GRID]
    assert law.predict(at_rest) == pytest.approx(plain.energy_joules, rel=0.02)
    assert law.predict(GRID) == pytest.approx(law.predict(less), rel=0.02)  # predicted as its laboratory measures


def test_rows_of_the_own_meter_are_above_the_idle_of_a_context() -> None:
    """71.8 and 121.7 W of an H100 are published; the energy with idle is the same whichever is taken off."""
    law = WorkLaw().fit(shipped_rows())
    silent, own, stated = (
        law.forecast([BASE | {"model": "sd2", "gpu": "h100"} | more])
        for more in ({}, {"meter": "nvml"}, {"meter": "nvml", "idle_watts": 75.0})
    )
    assert (silent.joules, silent.idle_watts) == (stated.joules, stated.idle_watts) == (silent.joules, 75)
    assert own.idle_watts == pytest.approx(121.7)
    assert own.joules < 0.95 * silent.joules
    assert own.joules + own.idle_watts * own.seconds == pytest.approx(silent.joules + 75 * silent.seconds)
    for row in ({"gpu": "a6000"}, {"includes_idle": True, "gpu": "h100"}):  # no such figure; idle is in it
        assert law.predict([BASE | row | {"meter": "nvml"}]) == law.predict([BASE | row])


def test_attention_on_newer_boards_is_done_by_the_kernels_of_its_day() -> None:
    law = WorkLaw().fit(shipped_rows())
    row = BASE | {"model": "sd35-medium", "width": 1024, "height": 1024}

    def at(gpu: str, day: str) -> float:
        return float(law.predict([row | {"gpu": gpu, "measured_at": day}])[0])

    for gpu in ("h100", "h200", "b200"):
        assert at(gpu, "2026-11-27T02:03:36+00:00") < 0.95 * at(gpu, "2026-03-01") == 0.95 * at(gpu, "")
    for gpu in ("a100", "l40s", "rtx5090"):  # PyTorch prefers cuDNN on Hopper and data-centre Blackwell alone
        assert at(gpu, "2026-11-27") == at(gpu, "")
    in_fp32 = row | {"gpu": "h100", "precision": "fp32"}
    assert law.predict([in_fp32 | {"measured_at": "2026-11-27"}]) == law.predict([in_fp32])


def test_rows_without_a_day_are_taken_as_the_others_on_their_gpu() -> None:
    rows = shipped_rows()
    row = BASE | {"model": "sd35-medium", "width": 1024, "height": 1024, "gpu": "h200"}
    new = Table.of([row | {"energy_joules": 9000.0, "dataset": "mine", "measured_at": "2026-11-27"}])
    law = WorkLaw().fit(Table.joined([rows, new]))
    silent, dated = law.predict([row, row | {"measured_at": "2026-11-01"}])
    assert silent == dated
    again = Law.from_json(law.to_json())
    assert again.predict([row])[0] == silent


def test_a_power_limit_that_a_row_knows_is_used() -> None:
    law = WorkLaw().fit(paper_rows())
    rows = Table.of([dict(BASE, width=1024, height=1024, power_limit_watts=watts) for watts in (400.0, 200.0)])
    answer = law.forecast(rows)
    assert answer.seconds is not None
    assert 0.5 * answer.joules[0] < answer.joules[1] < 0.8 * answer.joules[0]
    assert answer.seconds[1] > 1.05 * answer.seconds[0]
    assert (answer.joules[1] / answer.seconds[1]) < 200 - 58


def test_a_row_of_a_slower_clock_teaches_what_one_at_the_full_clock_takes() -> None:
    """The same joules measured at 1,100 MHz mean that more would be taken at 1,410."""
    row = dict(BASE, model="sdxl", gpu="l4", width=1024, height=1024, energy_joules=5000.0)
    told, silent = (WorkLaw().fit([row | limit]) for limit in ({"clock_limit_mhz": 1400.0}, {}))
    asked = [dict(BASE, model="sdxl", gpu="l4", width=1024, height=1024)]
    assert told.predict(asked)[0] > 1.1 * silent.predict(asked)[0]
    assert told.predict([asked[0] | {"clock_limit_mhz": 1400.0}])[0] == pytest.approx(silent.predict(asked)[0], rel=0.1)


def test_one_row_of_a_new_gpu_moves_and_narrows_all_models_there() -> None:
    rows = shipped_rows()
    row = [dict(BASE, model="sd35", gpu="l40s", width=1024, height=1024)]
    before = WorkLaw().fit(rows)
    known = float(before.predict(row)[0]) * 1.2
    after = WorkLaw().fit(Table.joined([rows, Table.of([row[0] | {"energy_joules": known}])]))
    others = [dict(BASE, model=model, gpu="l40s", width=1024, height=1024) for model in ("flux", "sdxl", "qwen")]
    assert after.predict(others) == pytest.approx(1.2 * before.predict(others), rel=0.06)
    assert half_width(after, others) < 0.7 * half_width(before, others)


def half_width(law: WorkLaw, rows: list[dict[str, Any]]) -> float:
    _, low, high = law.predict(rows, level=0.9)
    return float(np.log(high / low).mean() / 2)


def test_seconds_that_cannot_be_of_this_work_are_left_out_and_listed() -> None:
    prior = WorkLaw().fit(paper_rows()[:0])
    rows = timed(prior, GRID)
    wrong = [
        row | {"duration_seconds": 0.001, "energy_joules": float(j)}
        for row, j in zip(GRID, rows.energy_joules, strict=True)
    ]
    law = WorkLaw().fit(wrong)
    (entry,) = law.left_out_
    assert (entry["what"], entry["count"]) == ("seconds", len(GRID))
    assert law.predict_seconds(GRID) == pytest.approx(prior.predict_seconds(GRID), rel=0.1)
    assert law.predict(GRID) == pytest.approx(rows.energy_joules, rel=0.02)


def test_noise_is_of_the_model_and_intervals_of_few_rows_are_wide() -> None:
    rows = paper_rows()
    noise = WorkLaw().fit(rows).params_["noise_of_model"]
    assert noise["qwen"] > 1.5 * noise["flux"]
    few = [len(rows.where(model="flux")) // part for part in (1, 10)]
    widths = [half_width(WorkLaw().fit(rows.where(model="flux")[:: 80 // n]), [BASE]) for n in few]
    assert widths[1] > 1.3 * widths[0]


def test_a_table_of_many_repeats_is_fitted_in_seconds() -> None:
    """50,000 rows of 200 configurations: once 10 s, of which the bound leaves a third on a busy machine."""
    rows = paper_rows()
    many = rows.take(np.tile(np.arange(len(rows)), 250))
    energies = np.tile(WorkLaw().fit(rows).predict(rows), 250)
    noise = np.exp(np.random.default_rng(0).normal(0, 0.02, len(many)))
    begun = time.process_time()
    fitted = WorkLaw().fit(many, energies * noise)
    assert time.process_time() - begun < 3.5
    assert fitted.n_ == 50_000
    assert fitted.params_["noise"] == pytest.approx(0.02, rel=0.02)
