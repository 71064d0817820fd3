"""analysis.validation: which rows are fitted and which are tested."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import KFold

from analysis.laws.paper import LAW
from analysis.prediction import paper_rows
from analysis.validation import within


@pytest.mark.parametrize(("folds", "seed"), [(2, 0), (3, 7), (7, 1)])
def test_folds_are_those_of_scikit_learn(folds: int, seed: int) -> None:
    rows = paper_rows().where(model="flux")
    splits = KFold(folds, shuffle=True, random_state=seed).split(np.arange(len(rows)))
    tested = np.concatenate([rows.number[test] for _, test in splits])
    assert within(LAW(), rows, folds, seed=seed).table.number.tolist() == tested.tolist()
