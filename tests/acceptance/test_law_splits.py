"""The law ``work`` on the rows that ship: models and GPUs held out, few rows of a new one, within a model, seconds.

Bounds are a little above what docs/laws.md reports, so that they fail when the law gets worse, not by a rounding. Rows
of one model err together: coverage on held-out models is reported there, and only its floor is tested here.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.model_selection import KFold

from analysis.design import plan
from analysis.laws.paper.law import PaperLaw
from analysis.laws.work.law import WorkLaw
from analysis.metrics import interval_metrics
from analysis.prediction import paper_rows
from analysis.shipped import DATA, shipped_rows
from analysis.table import Table
from analysis.validation import leave_out

MODELS = ("flux", "qwen", "sd35")
LEVEL = 0.9


def others(model: str) -> Table:
    return paper_rows().where(model=[name for name in MODELS if name != model])


def error_percent(law: WorkLaw | PaperLaw, rows: Table) -> float:
    return float(100 * np.abs(law.predict(rows) / rows.energy_joules - 1).mean())


def covered(law: WorkLaw, rows: Table) -> int:
    _, low, high = law.predict(rows, level=LEVEL)
    return int(((low <= rows.energy_joules) & (rows.energy_joules <= high)).sum())


@pytest.mark.parametrize(("model", "bound"), [("flux", 5.5), ("qwen", 7.0), ("sd35", 7.0)])
def test_a_held_out_model(model: str, bound: float) -> None:
    rows = paper_rows().where(model=model)
    law = WorkLaw().fit(others(model))
    assert error_percent(law, rows) < bound < error_percent(PaperLaw().fit(others(model)), rows)
    assert covered(law, rows) >= 0.8 * len(rows)


def test_sd2_held_out() -> None:
    """A U-Net, and the only model of these whose GPU waits for its host: was 13.9%, 90% intervals held 74%."""
    rows = shipped_rows("paper").where(model="sd2").of_dataset("")
    law = WorkLaw().fit(paper_rows())
    assert error_percent(law, rows) < 9.5
    assert covered(law, rows) >= 0.85 * len(rows)


def test_each_model_left_out_of_all_laboratories() -> None:
    outcome = leave_out(WorkLaw(), shipped_rows(), "model").summary()
    assert len(outcome["groups"]) == 9
    assert outcome["metrics"]["mape_percent"] < 6.0
    assert outcome["metrics"]["seconds_mape_percent"] < 6.6
    assert 0.83 <= outcome["interval"]["coverage"] <= 0.98
    assert outcome["interval"]["interval_score"] < 0.37


@pytest.mark.parametrize(
    ("gpu", "alone", "batches", "one_row", "score"),
    [("h100", 8.0, 11.3, 7.6, 0.52), ("a100-40gb", 5.2, 6.6, 6.0, 0.48)],
)
def test_a_gpu_that_was_never_measured_and_after_one_row(
    gpu: str, alone: float, batches: float, one_row: float, score: float
) -> None:
    others, rows = (shipped_rows().take((shipped_rows().gpu == gpu) == there) for there in (False, True))
    law = WorkLaw().fit(others)
    assert error_percent(law, rows.where(batch=1)) < alone
    assert error_percent(law, rows) < batches
    assert covered(law, rows) >= 0.9 * len(rows)
    _, low, high = law.predict(rows, level=LEVEL)
    found = interval_metrics(rows.energy_joules, low, high, LEVEL)["interval_score"]
    assert found is not None
    assert found < score
    errors = []
    for model in rows.names("model"):
        known = Table.joined([others, rows.where(model=model, batch=1)[:1]])
        errors.append(error_percent(WorkLaw().fit(known), rows.take(rows.model != model)))
    assert np.mean(errors) < one_row


@pytest.mark.parametrize(("gpu", "bound"), [("h100", 6.5), ("h200", 8.0)])
def test_boards_that_this_project_measured_and_no_fit_saw(gpu: str, bound: float) -> None:
    """Another laboratory, and software that is two years newer: were 12.6 and 30%."""
    rows = Table.read(DATA / "measured" / f"{gpu}.csv").of_dataset("own")
    law = WorkLaw().fit(shipped_rows())
    assert error_percent(law, rows) < bound
    assert covered(law, rows) >= 0.9 * len(rows)


@pytest.mark.parametrize("model", MODELS)
def test_published_figures_alone(model: str) -> None:
    law = WorkLaw().fit(paper_rows()[:0])
    rows = paper_rows().where(model=model)
    assert error_percent(law, rows) < 12
    assert covered(law, rows) >= 0.9 * len(rows)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("budget", "bound"), [(4, 6.0), (8, 3.5)])
def test_a_few_planned_rows_of_a_new_model(model: str, budget: int, bound: float) -> None:
    rows = paper_rows().where(model=model)
    made = plan(others(model), rows, model=model, gpu="a100", budget=budget)
    keys = {c.key for c in made.configurations.configurations()}
    picked = np.array([c.key in keys for c in rows.configurations()])
    assert picked.sum() == budget
    known = paper_rows()[np.isin(paper_rows().number, [*others(model).number, *rows[picked].number])]
    assert error_percent(WorkLaw().fit(known), rows[~picked]) < bound
    assert rows.energy_joules[picked].sum() < 0.05 * rows.energy_joules.sum()


@pytest.mark.parametrize(("model", "bound"), [("flux", 1.0), ("qwen", 2.5), ("sd35", 1.2)])
def test_within_a_model_leaving_one_out(model: str, bound: float) -> None:
    rows = paper_rows().where(model=model)
    errors, inside = [], 0
    left_out = range(0, len(rows), 1 if model == "qwen" else 3)  # a fit for each: every third row is enough
    for row in left_out:
        law = WorkLaw().fit(rows[np.arange(len(rows)) != row])
        errors.append(error_percent(law, rows[[row]]))
        inside += covered(law, rows[[row]])
    assert np.mean(errors) < bound
    assert inside >= binom.ppf(0.01, len(left_out), LEVEL)


@pytest.mark.parametrize("model", MODELS)
def test_within_a_model_in_two_halves(model: str) -> None:
    rows = paper_rows().where(model=model)
    inside = 0
    for train, test in KFold(2, shuffle=True, random_state=0).split(np.arange(len(rows))):
        law = WorkLaw().fit(rows[train])
        inside += covered(law, rows[test])
        assert error_percent(law, rows[test]) < 4
    assert inside >= binom.ppf(0.01, len(rows), LEVEL)
