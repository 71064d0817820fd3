"""The linear algebra of the fit against its definition, on matrices small enough to write out."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.laws.hierarchy import information_of


@pytest.mark.parametrize("tau", [0.0, 0.02, 3.0])
@pytest.mark.parametrize("cells", [1, 7, 40])
def test_information_is_that_of_the_covariance_written_out(tau: float, cells: int) -> None:
    rng = np.random.default_rng(cells)
    _, cell = np.unique(rng.integers(0, cells, 40), return_inverse=True)
    jacobian, variance = rng.normal(size=(40, 5)), rng.uniform(1e-4, 1e-3, 40)
    covariance = np.diag(variance) + tau**2 * (cell[:, None] == cell)
    expected = jacobian.T @ np.linalg.solve(covariance, jacobian)
    found = information_of(jacobian, variance, tau, cell, int(cell.max()) + 1)
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-8 * np.abs(expected).max())


def test_no_rows_carry_no_information() -> None:
    nothing = information_of(np.zeros((0, 3)), np.zeros(0), 0.02, np.zeros(0, dtype=np.int64), 0)
    assert nothing.tolist() == np.zeros((3, 3)).tolist()
