"""Sharing an interval among labels: what its answer does not hang on, and what neighbours are worth that are alike."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
import pytest

from tests.unit.workers.meters.energy.test_phases import LABELS, held_to_a_limit, play
from workers.meters.energy import split
from workers.meters.energy.split import DEVIATION_PARTS, SEGMENT_TICKS, WANDER_PARTS, Segments, powers_of

SEEDS: Final = range(100, 103)


def finer(grid: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sorted([*grid, *((a + b) / 2 for a, b in pairwise(grid))]))


def joules_and_std() -> np.ndarray:
    """Of each phase in each of a few windows, (n, 2)."""
    found = [play(held_to_a_limit, seed).energy for seed in SEEDS]
    return np.array([(e.dynamic_joules[label], e.std_joules[label]) for e in found for label in LABELS])


def test_energies_hang_neither_on_where_cells_meet_nor_on_which_spreads_are_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Segments and the grid of A and W only stand for what is continuous: twice as fine, they say the same."""
    before, std = joules_and_std().T
    for name, values in {
        "SEGMENT_TICKS": finer(SEGMENT_TICKS),
        "DEVIATION_PARTS": finer(DEVIATION_PARTS),
        "WANDER_PARTS": finer(WANDER_PARTS),
    }.items():
        with monkeypatch.context() as changed:
            changed.setattr(split, name, values)
            after, other = joules_and_std().T
        assert not np.array_equal(after, before), name
        assert (np.abs(after - before) < 0.15 * std).all(), name
        assert other == pytest.approx(std, rel=0.15), name


@pytest.mark.parametrize(
    ("rho", "tick", "alike"),
    [(0.0, 0.02, 1.0), (-0.5, 0.02, 1.0), (0.5, 0.02, 3.0), (0.5, 0.1, 2.0), (0.9, 0.02, 10.0)],
)
def test_so_many_intervals_tell_as_much_as_one_as_are_alike(rho: float, tick: float, alike: float) -> None:
    """(1 + rho) / (1 - rho) of a first-order autoregression, as far as 0.2 s reach; never less than one."""
    rng = np.random.default_rng(3)
    error = np.zeros(4000)
    for i, shock in enumerate(rng.standard_normal(len(error)) * np.sqrt(1 - rho**2)):
        error[i] = rho * error[i - 1] + shock
    seconds = np.full((len(error), 1), tick)
    segments = Segments(np.array([1]), np.array([1.0]), ())
    found = powers_of(segments, seconds, 300.0 * tick + 0.1 * error, np.full(len(error), 0.01), tick)
    assert found.watts == pytest.approx([300.0], rel=0.01)
    assert found.alike == pytest.approx(alike, rel=0.1 if rho else 0.05)
    assert found.alike >= 1
