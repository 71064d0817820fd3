"""analysis.metrics against numbers worked out by hand and against SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analysis.metrics import interval_metrics, mean_of, metrics, seconds_mape_percent
from analysis.table import DataError


def test_by_hand() -> None:
    found = metrics([100.0, 200.0, 400.0], [110.0, 180.0, 400.0])
    assert found["mape_percent"] == pytest.approx((10 + 10 + 0) / 3)
    assert found["mae_joules"] == pytest.approx(10)
    assert found["bias_percent"] == pytest.approx(0)
    residual = math.log(1.1) ** 2 + math.log(0.9) ** 2
    assert found["r2_log"] == pytest.approx(1 - residual / (2 * math.log(2) ** 2))
    assert found["spearman"] == pytest.approx(1)


def test_correlations_agree_with_scipy() -> None:
    rng = np.random.default_rng(1)
    measured, predicted = rng.lognormal(size=50).round(1) + 0.1, rng.lognormal(size=50)
    found = metrics(measured, predicted)
    assert found["spearman"] == pytest.approx(stats.spearmanr(measured, predicted).statistic)
    assert found["pearson"] == pytest.approx(stats.pearsonr(measured, predicted).statistic)


def test_what_is_not_defined_is_none_not_nan() -> None:
    one = metrics([5.0], [6.0])
    assert one["r2_log"] is None
    assert one["spearman"] is None
    assert one["mape_percent"] == pytest.approx(20)
    assert set(metrics([], []).values()) == {None}


@pytest.mark.parametrize("values", [[0.0, 1.0], [-1.0, 1.0], [math.nan, 1.0], [math.inf, 1.0], [1.0]])
def test_energies_that_are_none_are_refused(values: list[float]) -> None:
    with pytest.raises(DataError):
        metrics(values, [1.0, 2.0])


def test_intervals() -> None:
    found = interval_metrics([1.0, 2.0, 3.0, 10.0], [0.5, 1.0, 1.5, 2.0], [2.0, 4.0, 6.0, 8.0], 0.9)
    score = math.log(4) + 20 * math.log(10 / 8) / 4  # all are two octaves wide, the last is missed by a quarter
    assert found == {
        "level": 0.9,
        "coverage": 0.75,
        "median_halfwidth_percent": pytest.approx(100),
        "interval_score": pytest.approx(score),
    }
    assert interval_metrics([], [], [], 0.5)["coverage"] is None


def test_a_wrong_interval_scores_worse_than_a_wide_one() -> None:
    wide, narrow = (interval_metrics([2.0], [low], [high], 0.9) for low, high in ((1.0, 4.0), (3.0, 3.1)))
    assert narrow["interval_score"] > wide["interval_score"]


def test_seconds_count_where_they_were_measured() -> None:
    assert seconds_mape_percent([10.0, math.nan, 20.0], [11.0, 5.0, 19.0]) == pytest.approx(7.5)
    assert seconds_mape_percent([math.nan], [5.0]) is None


def test_means_are_over_what_is_defined() -> None:
    assert mean_of([{"a": 1.0, "b": None}, {"a": 3.0, "b": None, "c": 5.0}]) == {"a": 2.0, "b": None, "c": 5.0}
