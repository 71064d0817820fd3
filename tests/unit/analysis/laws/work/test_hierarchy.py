"""The linear algebra of the fit against its definition, on matrices small enough to write out."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.laws.work.blocks import Blocks
from analysis.laws.work.effects import CELL_COLUMNS, Effects
from analysis.laws.work.hierarchy import solve, whitened
from analysis.prediction import paper_rows
from analysis.table import Table


@pytest.mark.parametrize("tau", [0.0, 0.02, 3.0])
@pytest.mark.parametrize("cells", [1, 7, 40])
def test_information_is_that_of_the_covariance_written_out(tau: float, cells: int) -> None:
    rng = np.random.default_rng(cells)
    _, cell = np.unique(rng.integers(0, cells, 40), return_inverse=True)
    jacobian, variance = rng.normal(size=(40, 5)), rng.uniform(1e-4, 1e-3, 40)
    covariance = np.diag(variance) + tau**2 * (cell[:, None] == cell)
    expected = jacobian.T @ np.linalg.solve(covariance, jacobian)
    a = whitened(jacobian, variance, tau, cell, int(cell.max()) + 1)
    found = a.T @ a
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-8 * np.abs(expected).max())


def test_no_rows_carry_no_information() -> None:
    nothing = whitened(np.zeros((0, 3)), np.zeros(0), 0.02, np.zeros(0, dtype=np.int64), 0)
    assert (nothing.T @ nothing).tolist() == np.zeros((3, 3)).tolist()


def several_laboratories() -> Table:
    """Rows of three models on two GPUs by two laboratories that share cells."""
    rows = paper_rows()
    documents = [
        c.to_dict() | {"energy_joules": e, "dataset": "ab"[i % 2], "gpu": "h100" if i % 3 else "a100"}
        for i, (c, e) in enumerate(zip(rows.configurations(), rows.energy_joules.tolist(), strict=True))
    ]
    return Table.from_rows(documents)


def test_blocks_are_the_jacobian_written_out() -> None:
    table, rng = several_laboratories(), np.random.default_rng(0)
    effects = Effects.of(table)
    members, slope = effects.members(table), rng.normal(size=(len(table), 8))
    dense = effects.jacobian(slope, members)
    boards, board = table.groups("model", "gpu")
    basis = effects.basis({kind: places[boards] for kind, places in members.items()})
    blocks = Blocks(effects.local(slope, members["dataset"]), basis, board)
    values, root = rng.normal(size=len(table)), rng.normal(size=(dense.shape[1],) * 2)
    assert blocks.transposed(values) == pytest.approx(dense.T @ values, abs=1e-12)
    covariance = root @ root.T
    assert blocks.variance(covariance) == pytest.approx(np.einsum("np,pq,nq->n", dense, covariance, dense))
    _, cell = table.groups(*CELL_COLUMNS)
    arguments = (rng.uniform(1e-4, 1e-3, len(table)), 0.02, cell, int(cell.max()) + 1)
    a = whitened(dense, *arguments)
    assert blocks.gram(whitened(blocks.local, *arguments)) == pytest.approx(a.T @ a, rel=1e-9, abs=1e-6)


def test_pooling_the_rows_of_a_configuration_changes_nothing() -> None:
    """The same fit with every row as a configuration of its own, outliers and unequal variances among them."""
    rng = np.random.default_rng(3)
    n, m = 300, 60
    x, alike, cell_of = rng.normal(size=(m, 3)), rng.integers(0, m, n), np.repeat(np.arange(12), 5)
    alike[:m] = np.arange(m)  # each is there
    y = (x @ [0.3, -0.2, 0.1])[alike] + 0.02 * rng.standard_t(2, n)
    extra, weight = rng.uniform(0, 1e-3, n), rng.uniform(0.5, 2, n)

    def model(rows: np.ndarray) -> object:
        one, basis = np.zeros(len(rows), dtype=np.int64), np.eye(3)[None]
        return lambda p: (np.sin(x[rows] @ p), lambda: Blocks(np.cos(x[rows] @ p)[:, None] * x[rows], basis, one))

    std, start = np.ones(3), np.zeros(3)
    pooled = solve(model(np.arange(m)), y, std, alike, cell_of, extra, weight, start)
    each = solve(model(alike), y, std, np.arange(n), cell_of[alike], extra, weight, start)
    assert pooled.p == pytest.approx(each.p, rel=1e-9)
    assert pooled.covariance == pytest.approx(each.covariance, rel=1e-8, abs=1e-15)
    assert (pooled.sigma, pooled.tau) == pytest.approx((each.sigma, each.tau), rel=1e-9)
    assert pooled.cells.mean == pytest.approx(each.cells.mean, rel=1e-8, abs=1e-12)
