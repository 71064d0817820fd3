"""The linear algebra of the fit against its definition, on matrices small enough to write out."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.laws.work.blocks import Basis, Blocks, Groups, Information
from analysis.laws.work.effects import LOCAL, SHAPE_COLUMNS, SPREADS, Effects
from analysis.laws.work.hierarchy import Layout, Spread, solve, whitened
from analysis.prediction import paper_rows
from analysis.table import Table


@pytest.mark.parametrize("tau", [0.0, 0.02, 3.0])
@pytest.mark.parametrize("shapes", [1, 7, 40])
def test_information_is_that_of_the_covariance_written_out(tau: float, shapes: int) -> None:
    rng = np.random.default_rng(shapes)
    _, shape = np.unique(rng.integers(0, shapes, 40), return_inverse=True)
    jacobian, variance = rng.normal(size=(40, 5)), rng.uniform(1e-4, 1e-3, 40)
    covariance = np.diag(variance) + tau**2 * (shape[:, None] == shape)
    expected = jacobian.T @ np.linalg.solve(covariance, jacobian)
    a = whitened(jacobian, variance, np.full(int(shape.max()) + 1, tau), shape)
    found = a.T @ a
    assert found == pytest.approx(expected, rel=1e-8, abs=1e-8 * np.abs(expected).max())


def test_information_of_rows_that_hardly_tell_anything_is_theirs_too() -> None:
    shape, jacobian = np.repeat([0, 1], 3), np.random.default_rng(0).normal(size=(6, 2))
    covariance = 100 * np.eye(6) + 9 * (shape[:, None] == shape)
    a = whitened(jacobian, np.full(6, 100.0), np.full(2, 3.0), shape)
    assert a.T @ a == pytest.approx(jacobian.T @ np.linalg.solve(covariance, jacobian))


def test_no_rows_carry_no_information() -> None:
    nothing = whitened(np.zeros((0, 3)), np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int64))
    assert (nothing.T @ nothing).tolist() == np.zeros((3, 3)).tolist()


def several_laboratories() -> Table:
    """Rows of three models on two GPUs by two laboratories that share shapes."""
    rows = paper_rows()
    documents = [
        c.to_dict() | {"energy_joules": e, "dataset": "ab"[i % 2], "gpu": "h100" if i % 3 else "a100"}
        for i, (c, e) in enumerate(zip(rows.configurations(), rows.energy_joules.tolist(), strict=True))
    ]
    return Table.from_rows(documents)


def test_blocks_are_the_jacobian_written_out() -> None:
    table, rng = several_laboratories(), np.random.default_rng(0)
    effects = Effects.of(table)
    sets, group = effects.sets(table)
    local = rng.normal(size=(len(table), len(LOCAL)))
    dense = np.einsum("nk,nkp->np", local, sets.basis.dense()[group])
    assert sets.basis.shape == (12, len(LOCAL), len(effects.labels))  # 3 models, 2 GPUs, 2 laboratories
    blocks = Blocks(local, Groups.of(sets.basis, group))
    values, root = rng.normal(size=len(table)), rng.normal(size=(dense.shape[1],) * 2)
    assert blocks.transposed(values) == pytest.approx(dense.T @ values, abs=1e-12)
    covariance = root @ root.T
    expected = np.einsum("np,pq,nq->n", dense, covariance, dense)
    of_sets = sets.covariance(covariance)
    assert blocks.variance(of_sets) == pytest.approx(expected)
    of_sets = of_sets[group]
    assert np.einsum("nk,nkl,nl->n", local, of_sets, local) == pytest.approx(expected)
    _, shape = table.groups(*SHAPE_COLUMNS, "dataset")
    arguments = (rng.uniform(1e-4, 1e-3, len(table)), rng.uniform(0.01, 0.03, int(shape.max()) + 1), shape)
    a = whitened(dense, *arguments)
    gram = blocks.gram(whitened(blocks.local, *arguments))
    assert sets.basis.information(gram) == pytest.approx(a.T @ a, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(
    "rows",
    [
        several_laboratories(),  # only hosts of a laboratory's GPUs, no pair, are of one set alone
        several_laboratories().where(dataset="a"),  # so are pairs
        several_laboratories().where(gpu="h100", dataset="b"),  # so are models
        several_laboratories().take(slice(0, 0)),
    ],
    ids=["laboratories", "one laboratory", "one GPU", "no rows"],
)
def test_information_is_inverted_as_if_written_out(rows: Table) -> None:
    rng, effects = np.random.default_rng(0), Effects.of(rows)
    sets, group = effects.sets(rows)
    local = 30 * rng.normal(size=(len(rows), len(LOCAL)))
    blocks = Blocks(local, Groups.of(sets.basis, group))
    precision = effects.std**-2.0
    information = Information(blocks.groups, blocks.gram(local), precision)
    dense = np.einsum("nk,nkp->np", local, sets.basis.dense()[group])
    inverse = np.linalg.inv(dense.T @ dense + np.diag(precision))
    values = rng.normal(size=len(precision))
    assert information.solve(values) == pytest.approx(inverse @ values, rel=1e-8, abs=1e-10)
    assert information.inverse() == pytest.approx(inverse, rel=1e-8, abs=1e-12)
    assert information.variances() == pytest.approx(np.diag(inverse), rel=1e-8)
    assert information.of_sets() == pytest.approx(sets.basis.covariance(inverse), rel=1e-8, abs=1e-12)


def test_groups_that_no_row_belongs_to_are_as_uncertain_as_their_priors() -> None:
    table = several_laboratories()
    known = Effects.of(table.where(gpu="a100", dataset="a"))
    sets, group = known.sets(table)
    new = sets.unseen[group]
    new_gpu, new_dataset = table.gpu == "h100", table.dataset == "b"
    variances = {kind: spread["level"] ** 2 for kind, spread in SPREADS.items() if "level" in spread}
    of_gpu = sum(variances[kind] for kind in ("gpu", "architecture", "pair"))
    level = of_gpu * new_gpu + variances["dataset"] * new_dataset + variances["host"] * (new_gpu | new_dataset)
    assert new[:, LOCAL.index("level")] == pytest.approx(level)


def test_spreads_are_those_of_each_group_and_learned_from_all() -> None:
    """Three groups of rows whose noise is 0.5, 1 and 4%, and effects that are three times as large as expected."""
    rng = np.random.default_rng(5)
    groups, rows, effects = 40, 30, 3
    noise = np.array([0.005, 0.01, 0.04])
    group = np.repeat(np.arange(groups), rows)
    kind = rng.integers(0, 3, groups * rows)
    truth = rng.normal(0, 0.3, (groups, effects))
    x = rng.normal(size=(groups * rows, effects))
    y = (x * truth[group]).sum(axis=1) + noise[kind] * rng.normal(size=len(kind))
    basis = np.zeros((groups, effects, groups * effects))
    for g in range(groups):
        basis[g, :, g * effects : (g + 1) * effects] = np.eye(effects)

    def model(p: np.ndarray) -> object:
        return (x * (basis @ p)[group]).sum(axis=1), lambda: Blocks(x, Groups.of(Basis.of(basis), group))

    n = len(y)
    layout = Layout(np.arange(n), kind, group, np.zeros(groups, dtype=np.int64))
    std = np.full(groups * effects, 0.1)
    found = solve(model, y, std, std > 0, layout, np.zeros(n), np.ones(n), np.zeros(len(std)))
    assert found.scale == pytest.approx(3.0, rel=0.15)
    assert found.sigma.of_group == pytest.approx(noise, rel=0.1)
    assert found.tau.of_group[0] < 0.01


def test_pooling_the_rows_of_a_configuration_changes_nothing() -> None:
    """The same fit with every row as a configuration of its own, outliers and unequal variances among them."""
    rng = np.random.default_rng(3)
    n, m = 300, 60
    x, alike, shape_of = rng.normal(size=(m, 3)), rng.integers(0, m, n), np.repeat(np.arange(12), 5)
    alike[:m] = np.arange(m)  # each is there
    y = (x @ [0.3, -0.2, 0.1])[alike] + 0.02 * rng.standard_t(2, n)
    extra, weight = rng.uniform(0, 1e-3, n), rng.uniform(0.5, 2, n)

    def model(rows: np.ndarray) -> object:
        one, basis = np.zeros(len(rows), dtype=np.int64), Basis.of(np.eye(3)[None])
        return lambda p: (
            np.sin(x[rows] @ p),
            lambda: Blocks(np.cos(x[rows] @ p)[:, None] * x[rows], Groups.of(basis, one)),
        )

    std, start = np.ones(3), np.zeros(3)
    learned, noise, spread = np.zeros(3, dtype=np.bool_), shape_of[alike] % 2, np.zeros(12, dtype=np.int64)
    together, alone = Layout(alike, noise, shape_of, spread), Layout(np.arange(n), noise, shape_of[alike], spread)
    pooled = solve(model(np.arange(m)), y, std, learned, together, extra, weight, start)
    each = solve(model(alike), y, std, learned, alone, extra, weight, start)
    assert pooled.p == pytest.approx(each.p, rel=1e-9)
    assert pooled.covariance == pytest.approx(each.covariance, rel=1e-8, abs=1e-15)
    assert pooled.sigma.of_group == pytest.approx(each.sigma.of_group, rel=1e-9)
    assert pooled.tau.of_group == pytest.approx(each.tau.of_group, rel=1e-9)
    assert pooled.shapes.mean == pytest.approx(each.shapes.mean, rel=1e-8, abs=1e-12)


def test_of_a_group_of_many_rows_twenty_count_to_what_is_common() -> None:
    """Two groups, of 20,000 rows of 10% and of 4 of 1%, and a prior of 2% worth 8 rows."""
    count = np.array([20_000.0, 4.0])
    found = Spread(np.array([0.02, 0.02]), 0.02, count).again(0.02, count * np.array([0.1, 0.01]) ** 2)
    common = (8 * 0.02**2 + 20 * 0.1**2 + 4 * 0.01**2) / 32
    assert found.common == pytest.approx(np.sqrt(common))
    assert found.of_group == pytest.approx([0.1, np.sqrt((5 * common + 4 * 0.01**2) / 9)], rel=1e-3)
    assert found.is_near(found)
    assert not found.is_near(Spread(1.002 * found.of_group, found.common, count))


def test_the_learned_factor_is_of_the_effects_and_of_ten_that_were_expected() -> None:
    """Thirty effects, each told precisely to be twice what was expected of it."""
    n, basis = 30, Basis.of(np.eye(30)[:, None])
    groups, x = Groups.of(basis, np.arange(n)), np.ones((n, 1))
    layout = Layout(np.arange(n), np.zeros(n, dtype=np.int64), np.arange(n), np.zeros(n, dtype=np.int64))
    std = np.ones(n)
    found = solve(lambda p: (p, lambda: Blocks(x, groups)), 2 * std, std, std > 0, layout, 0 * std, std, 0 * std)
    assert found.scale_degrees == pytest.approx(10 + n, rel=1e-3)
    assert found.scale == pytest.approx(np.sqrt((10 + n * 4) / (10 + n)), rel=1e-2)
