"""Planning: cheap rows that teach most, without a look at what they would show."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.design import ALLOWANCE, grid, plan
from analysis.prediction import paper_rows
from analysis.table import Table
from farm.domain import RequestError


def test_the_grid_holds_what_fits_the_memory() -> None:
    assert len(grid("flux", "a100")) == 240
    assert {row.precision for row in grid("qwen", "a100")} == {"fp16"}
    assert grid("qwen", "a4000") == []


def test_candidates_that_the_memory_cannot_hold_are_not_picked() -> None:
    rows = [row.to_dict() for row in grid("flux", "a100") if row.width == 256 and row.steps == 10]
    rows = [{**row, "gpu": "a6000"} for row in rows]
    assert {row["precision"] for row in rows} == {"fp16", "fp32"}
    made = plan([], rows, model="flux", gpu="a6000", budget=50)
    assert set(made.configurations.labels("precision").texts()) == {"fp16"}
    with pytest.raises(RequestError, match=r"candidates: flux on a4000: .* fits its memory"):
        plan([], [{**row, "gpu": "a4000"} for row in rows], model="flux", gpu="a4000", budget=1)


def test_picks_are_distinct_cheap_and_lessen_the_expected_error() -> None:
    known = paper_rows().where(model=["flux", "qwen"])
    errors = []
    for budget in (1, 4, 8):
        made = plan(known, model="sd35", gpu="a100", budget=budget)
        rows = made.configurations
        assert len(rows) == budget == len({c.key for c in rows.configurations()})
        assert set(rows.prompts.tolist()) == {25}
        assert made.expected_energy_joules <= ALLOWANCE * made.candidates_energy_joules
        errors.append(made.expected_error_percent)
    assert made.error_before_percent > errors[0] > errors[1] > errors[2]


def test_energies_of_candidates_are_not_looked_at() -> None:
    known, rows = paper_rows().where(model="qwen"), paper_rows().where(model="flux")
    shuffled = Table.from_rows(c.to_dict() | {"energy_joules": 1.0 + i} for i, c in enumerate(rows.configurations()))
    first, second = (plan(known, c, model="flux", gpu="a100", budget=5).configurations for c in (rows, shuffled))
    assert list(first.configurations()) == list(second.configurations())


def test_what_is_known_is_not_measured_again() -> None:
    rows = paper_rows().where(model="flux")
    made = plan(rows[:70], rows, model="flux", gpu="a100", budget=20)
    assert len(made.configurations) == 10
    assert not {c.key for c in made.configurations.configurations()} & {c.key for c in rows[:70].configurations()}


@pytest.mark.parametrize("flags", ["counter_reset", "counter_reset gpu_lost", "simulated", "estimated"])
def test_a_spoiled_or_unreal_row_makes_nothing_known(flags: str) -> None:
    """Every candidate has such a row: all the same they are to be measured, the first pick as if there were none."""
    rows = paper_rows().where(model="flux")
    energies = rows.energy_joules.tolist()
    known = Table.from_rows(
        c.to_dict() | {"energy_joules": energies[i], "flags": flags} for i, c in enumerate(rows.configurations())
    )
    made = plan(known, rows, model="flux", gpu="a100", budget=3)
    assert len(made.configurations) == 3
    if flags.startswith("counter"):
        blank = plan(rows[:0], rows, model="flux", gpu="a100", budget=3)
        assert made.configurations.steps.tolist() == blank.configurations.steps.tolist()
        assert made.expected_error_percent == pytest.approx(blank.expected_error_percent)


def test_a_spoiled_row_is_proposed_again_among_good_ones() -> None:
    rows = paper_rows().where(model="flux")
    energies = rows.energy_joules.tolist()
    known = Table.from_rows(
        c.to_dict() | {"energy_joules": energies[i], "flags": "throttled_thermal" if i == 7 else ""}
        for i, c in enumerate(rows.configurations())
    )
    made = plan(known, rows, model="flux", gpu="a100", budget=3)
    assert list(made.configurations.configurations()) == [rows.configuration(7)]


def test_a_gpu_without_any_row_is_planned_from_its_figures() -> None:
    made = plan(paper_rows()[:0], model="sd2", gpu="b200", budget=6)
    assert len(made.configurations) == 6
    assert 0 < made.expected_error_percent < made.error_before_percent


@pytest.mark.parametrize("budget", [0, -1, True])
def test_a_budget_that_is_none_is_refused(budget: int) -> None:
    with pytest.raises(RequestError, match="budget"):
        plan(paper_rows(), model="flux", gpu="a100", budget=budget)


def test_nothing_to_choose_from_is_refused() -> None:
    with pytest.raises(RequestError, match="candidates"):
        plan(paper_rows(), paper_rows(), model="flux", gpu="a100", budget=2)
    with pytest.raises(RequestError, match="model"):
        plan(paper_rows(), model="fluks", gpu="a100", budget=2)
    assert np.isfinite(plan(paper_rows(), model="sd2", gpu="a100", budget=500).expected_error_percent)
