"""Law `paper`: the numbers of arXiv 2511.17031v2, and least squares that takes rows as they come."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis.laws.base import Law
from analysis.laws.paper.law import PaperLaw, gflops
from analysis.prediction import paper_rows
from analysis.table import DataError
from analysis.validation import held_out, within
from farm.domain import Configuration
from tests.law_rows import grid, simulated

PRINTED = {
    "flux": {"ln_a": -20.475, "alpha": 0.981, "beta_fp32": 2.043, "beta_res": -0.038},
    "sd35": {"ln_a": -19.695, "alpha": 0.950, "beta_fp32": 1.896, "beta_res": -0.040},
    "qwen": {"ln_a": -18.555, "alpha": 0.985, "beta_res": -0.300},
}
# Coefficients of Eq. 3 near the paper's Tables 1 and 2, for rows of GPUs that the paper prints none of.
TRUTH = {"ln_a": -20.6, "alpha": 0.99, "beta_fp32": 2.0, "beta_res": -0.04}
GPUS = {"a100": 0.0, "a4000": 0.8, "a6000": 0.4}


@pytest.mark.parametrize("model", PRINTED)
def test_coefficients_to_the_printed_digit(model: str) -> None:
    fit = PaperLaw().fit(paper_rows().where(model=model))
    assert {name: round(value, 3) for name, value in fit.params_.items()} == PRINTED[model]


def test_constant_columns_are_dropped_and_reported() -> None:
    fit = PaperLaw().fit(paper_rows().where(model="qwen"))
    assert [entry["name"] for entry in fit.left_out_] == ["beta_fp32", "beta_gpu"]
    assert set(fit.params_std_) == set(fit.params_)


def test_standard_errors_and_intervals_are_those_of_ordinary_least_squares() -> None:
    table = paper_rows().where(model="sd35")
    fit = PaperLaw().fit(table)
    X = np.column_stack(
        [
            np.ones(len(table)),
            np.log(gflops(table) * np.where(table.cfg, 2, 1)),
            table.precision == "fp32",
            np.log(table.pixels / 256),
        ]
    )
    y = np.log(table.energy_joules / 3.6e6)
    inverse = np.linalg.inv(X.T @ X)
    s2 = np.sum((y - X @ inverse @ X.T @ y) ** 2) / (len(y) - 4)
    assert list(fit.params_std_.values()) == pytest.approx(np.sqrt(np.diag(inverse) * s2).tolist(), rel=1e-6)
    energy, low, high = fit.predict(table, level=0.8)
    half = stats.t.ppf(0.9, len(y) - 4) * np.sqrt(s2 * (1 + np.sum((X @ inverse) * X, axis=1)))
    assert np.log(high / energy) == pytest.approx(half, rel=1e-6)
    assert np.log(energy / low) == pytest.approx(half, rel=1e-6)


@pytest.mark.parametrize(
    ("train", "test", "mape"),  # the splits of the paper's Figure 4
    [(("qwen", "sd35"), ("flux",), 13.0), (("flux", "sd35"), ("qwen",), 19.4), (("flux", "qwen"), ("sd35",), 10.5)],
)
def test_error_on_a_held_out_model_is_the_known_one(train: tuple[str, ...], test: tuple[str, ...], mape: float) -> None:
    summary = held_out(PaperLaw(), paper_rows(), train=train, test=test).summary()
    assert round(summary["metrics"]["mape_percent"], 1) == mape
    assert summary["n_train"] + summary["n_test"] == 200


def test_two_folds_within_a_model() -> None:
    for model, worst in (("flux", 2.0), ("sd35", 6.0), ("qwen", 8.5)):
        summary = within(PaperLaw(), paper_rows().where(model=model), 2).summary()
        assert summary["metrics"]["mape_percent"] < worst
        assert summary["metrics"]["r2_log"] > 0.99


def test_bf16_counts_as_fp16() -> None:
    fit = PaperLaw().fit(paper_rows())
    half = grid(models=["flux"], precisions=["fp16"])
    brain = grid(models=["flux"], precisions=["bf16"])
    assert (fit.predict(half) == fit.predict(brain)).all()


def test_known_coefficients_of_three_gpus_come_back() -> None:
    table = simulated(grid(gpus=list(GPUS)), TRUTH, GPUS, noise=0.0)
    fit = PaperLaw().fit(table)
    assert {k: v for k, v in fit.params_.items() if k != "beta_gpu"} == pytest.approx(TRUTH, abs=1e-8)
    assert fit.params_["beta_gpu"] == pytest.approx({"a4000": 0.8, "a6000": 0.4}, abs=1e-8)


def test_without_an_a100_the_first_gpu_is_the_baseline() -> None:
    table = simulated(grid(gpus=["a4000", "a6000"]), TRUTH, GPUS, noise=0.0)
    fit = PaperLaw().fit(table)
    assert fit.params_["beta_gpu"] == pytest.approx({"a6000": -0.4}, abs=1e-8)
    assert fit.params_["ln_a"] == pytest.approx(TRUTH["ln_a"] + 0.8, abs=1e-8)


def test_a_gpu_held_out_is_off_by_its_own_coefficient_and_the_interval_shows_it() -> None:
    table = simulated(grid(gpus=list(GPUS)), TRUTH, GPUS, noise=0.01)
    outcome = held_out(PaperLaw(), table, train_gpu=["a100"], test_gpu=["a6000"])
    ratio = np.log(outcome.measured_joules / outcome.predicted_joules)
    assert ratio.mean() == pytest.approx(0.4, abs=0.01)
    summary = outcome.summary()
    assert summary["train"] == ["a100"]
    assert summary["test"] == ["a6000"]
    assert summary["interval"]["coverage"] == 1.0
    assert summary["interval"]["median_halfwidth_percent"] > 50


def test_trained_on_two_gpus_the_third_ranks_right() -> None:
    table = simulated(grid(gpus=list(GPUS)), TRUTH, GPUS, noise=0.05)
    summary = held_out(PaperLaw(), table, train_gpu=["a100", "a4000"], test_gpu=["a6000"]).summary()
    assert summary["metrics"]["spearman"] > 0.99


def test_intervals_cover_what_they_say() -> None:
    table = simulated(grid(), TRUTH, GPUS, noise=0.1, seed=3)
    rng = np.random.default_rng(4)
    fitted = rng.random(len(table)) < 0.3
    fit = PaperLaw().fit(table[fitted])
    rest = table[~fitted]
    _, low, high = fit.predict(rest, level=0.9)
    held = int(((low <= rest.energy_joules) & (rest.energy_joules <= high)).sum())
    assert stats.binomtest(held, len(rest), 0.9).pvalue > 0.01


def test_a_new_model_widens_the_interval() -> None:
    fit = PaperLaw().fit(paper_rows().where(model=["flux", "qwen"]))
    for model, known in (("flux", True), ("sd35", False)):
        energy, _, high = fit.predict(grid(models=[model]), level=0.9)
        assert (np.log(high / energy).min() > 0.3) != known


def test_rows_in_parts_equal_all_rows_at_once() -> None:
    table = simulated(grid(gpus=list(GPUS)), TRUTH, GPUS, noise=0.1)[np.random.default_rng(5).permutation(720)]
    whole = PaperLaw().fit(table)
    parts = PaperLaw().fit(table[:40])
    for start in range(40, len(table), 85):
        parts.partial_fit(table[start : start + 85])
    for attribute in ("params_", "params_std_"):
        a, b = getattr(whole, attribute), getattr(parts, attribute)
        assert {k: v for k, v in a.items() if k != "beta_gpu"} == pytest.approx(
            {k: v for k, v in b.items() if k != "beta_gpu"}, rel=1e-9
        )
        assert a["beta_gpu"] == pytest.approx(b["beta_gpu"], rel=1e-9)
    assert parts.n_ == len(table)
    assert parts.scope == whole.scope
    assert parts.data_sha256_ == whole.data_sha256_


def test_rows_that_come_later_cost_what_they_are() -> None:
    """The state does not grow with the rows that were taken."""
    few, many = (PaperLaw().fit(simulated(grid(), TRUTH, GPUS, noise=0.1, copies=copies)) for copies in (1, 20))
    sizes = [[column.size for f in fit._factors.values() for column in f.columns.values()] for fit in (few, many)]
    assert sizes[0] == sizes[1]


def test_an_update_takes_only_what_is_new() -> None:
    table = paper_rows()
    before = PaperLaw().fit(table[:150])
    after = before.updated(table)
    assert before.n_ == 150
    assert after.params_ == pytest.approx(PaperLaw().fit(table).params_, rel=1e-9)
    reordered = before.updated(table[::-1])  # not a continuation: fitted afresh
    assert reordered.params_ == pytest.approx(after.params_, rel=1e-9)


def test_a_refused_update_leaves_the_law_as_it_was() -> None:
    fit = PaperLaw().fit(paper_rows())
    before = fit.to_json()
    more = simulated(grid(), TRUTH, GPUS, noise=0.1, flags="simulated")
    with pytest.raises(DataError, match="rows of one origin"):
        fit.partial_fit(more)
    assert fit.to_json() == before


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(DataError, match="more than the 4 coefficients"):
        PaperLaw().fit(paper_rows().where(model="flux", steps=10, cfg=False)[:4])


def test_collinear_axes_are_refused_by_name() -> None:
    table = simulated(grid(gpus=["a100", "a4000"]), TRUTH, GPUS, noise=0.1)
    entangled = (table.gpu == "a4000") == (table.precision == "fp32")
    with pytest.raises(DataError, match="fp32 and gpu:a4000"):
        PaperLaw().fit(table[entangled])


def test_a_model_that_the_paper_does_not_have_rests_on_the_exact_count() -> None:
    from farm import catalog

    others = sorted(set(catalog.models()) - set(PRINTED) - {"sd2"})
    assert others
    fit = PaperLaw().fit(paper_rows())
    words = fit.rests_on(grid(models=[others[0]], resolutions=[1024], precisions=["fp16"]))
    assert "exact count" in words


def test_a_law_saved_and_loaded_predicts_the_same_numbers() -> None:
    fit = PaperLaw().fit(paper_rows())
    again = Law.from_json(fit.to_json())
    for a, b in zip(fit.predict(grid(), level=0.9), again.predict(grid(), level=0.9), strict=True):
        assert (a == b).all()
    more = paper_rows()[:30]
    assert again.partial_fit(more).params_ == fit.partial_fit(more).params_


def test_many_rows_and_one_by_one_are_the_same() -> None:
    fit = PaperLaw().fit(paper_rows())
    table = grid()
    one_by_one = [float(fit.predict(table[[place]])[0]) for place in range(0, len(table), 7)]
    assert fit.predict(table)[::7].tolist() == pytest.approx(one_by_one, rel=1e-12)


def test_fewer_prompts_than_were_fitted_are_scaled_from_the_nearest_and_that_is_said() -> None:
    """Measured on the A100, FLUX takes 4720 J an image; Eq. 3 itself, far below its N of 100, says 7456."""
    law = PaperLaw().fit(paper_rows())
    one, hundred = (
        Configuration(
            model="flux", gpu="a100", width=1024, height=1024, steps=28, precision="fp16", cfg=False, prompts=n
        )
        for n in (1, 100)
    )
    assert law.predict([one])[0] == pytest.approx(law.predict([hundred])[0] / 100)
    assert law.predict([one])[0] == pytest.approx(4720, rel=0.05)
    assert "1 prompts where 100 were fitted: scaled from 100" in law.rests_on([one])
    assert "were fitted" not in law.rests_on([hundred])
    far = replace(hundred, steps=200, width=2048, height=2048, batch=4)
    for words in ("200 steps", "4194304 pixels", "4 images at once"):
        assert words in law.rests_on([far])
    again = Law.from_json(law.to_json())
    assert again.rests_on([far]) == law.rests_on([far])
    assert again.predict([one])[0] == law.predict([one])[0]


def test_what_rows_taken_later_reach_counts_as_fitted() -> None:
    rows = paper_rows().where(model="qwen")
    few, many = rows.where(steps=[10, 20]), rows.where(steps=[30, 40, 50])
    law = PaperLaw().fit(few)
    row = list(many.configurations())[:1]
    assert "steps where 10 to 20 were fitted" in law.rests_on(row)
    assert "were fitted" not in law.partial_fit(many).rests_on(row)
