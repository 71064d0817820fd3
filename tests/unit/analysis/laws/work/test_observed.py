"""What rows say to the law: each by itself, however many are worked out together."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from analysis.laws.work.effects import Effects
from analysis.laws.work.hardware import CUDNN_SINCE
from analysis.laws.work.hierarchy import Spread
from analysis.laws.work.known import Known
from analysis.laws.work.laboratories import Days
from analysis.laws.work.observed import FARTHEST_SECONDS, Observed
from analysis.table import Table

BASE: dict[str, Any] = {
    "model": "sd35-medium", "gpu": "h100", "width": 1024, "height": 1024, "steps": 20, "precision": "fp16",
    "cfg": False, "prompts": 8, "batch": 1, "energy_joules": 9000.0, "measured_at": "2026-11-27",
}  # fmt: skip


def observed(rows: list[dict[str, Any]], effects: Effects | None = None) -> tuple[Observed, Effects]:
    table = Table.of(rows)
    effects = Effects.of(table) if effects is None else effects
    return Observed.of(table, table.energy_joules, None, effects), effects


@pytest.mark.parametrize(
    "columns",
    [
        {"steps": [10, 20], "measured_at": ["2026-01-01", "2026-11-27"]},
        {"steps": [10, 20], "power_limit_watts": ["", 300.0, 400.0]},
        {"steps": [10, 20], "clock_limit_mhz": ["", 1000.0, 1400.0], "power_limit_watts": ["", 400.0]},
        {"steps": [10, 20], "includes_idle": [0, 1], "duration_seconds": [20.0]},
        {"steps": [10, 20], "includes_idle": [1], "duration_seconds": [20.0, 30.0]},
        {"steps": [10, 20], "includes_idle": [0, 1], "duration_seconds": [20.0, 30.0, 40.0]},
        {"steps": [10, 20], "includes_idle": [1], "duration_seconds": [20.0, 30.0], "clock_limit_mhz": ["", 1000.0]},
    ],
)
def test_rows_that_are_alike_but_for_one_column_are_worked_out_as_each_alone(columns: dict[str, list[Any]]) -> None:
    rows = [BASE | dict(zip(columns, values, strict=True)) for values in product(*columns.values())]
    together, effects = observed(rows)
    expected = together.model(np.zeros(len(effects.std)))[0][together.layout.alike]
    for place, row in enumerate(rows):
        alone, _ = observed([row], effects)
        energy = alone.model(np.zeros(len(effects.std)))[0][alone.layout.alike][0]
        assert expected[place] == pytest.approx(energy, rel=1e-12), row


def test_the_kernels_of_a_day_are_used_from_that_day_on() -> None:
    days = [CUDNN_SINCE.replace(day=CUDNN_SINCE.day - 1).isoformat(), CUDNN_SINCE.isoformat()]
    table = Table.of([BASE | {"measured_at": day} for day in days])
    assert Days.of(table).cudnn(table).tolist() == [False, True]


def test_the_uncertainty_that_a_row_states_is_a_variance_of_its_logarithm() -> None:
    found, _ = observed([BASE | {"energy_std_joules": 900.0, "duration_seconds": 30.0}, BASE])
    assert found.extra_variance == pytest.approx([0.01, 0.0, 0.0])  # energies, then seconds


def test_seconds_are_used_up_to_their_farthest_from_what_is_expected() -> None:
    found, effects = observed([BASE | {"duration_seconds": 30.0}])
    expected = float(np.exp(found.model(np.zeros(len(effects.std)))[0][1]))
    for factor, used in ((7.9, 1), (8.1, 0), (1 / 7.9, 1), (1 / 8.1, 0)):
        found, _ = observed([BASE | {"duration_seconds": factor * expected}])
        assert (len(found.y) - 1, len(found.left_out)) == (used, 1 - used), factor
    assert FARTHEST_SECONDS == 8.0  # as the documents say


def test_noise_is_told_of_the_energies_of_a_model_over_its_data_sets() -> None:
    known = Known(
        noise_groups=(
            ("joules", "flux", "a"),
            ("joules", "flux", "b"),
            ("joules", "sd2", "a"),
            ("seconds", "sd2", "a"),
        ),
        spread_groups=(("joules", "flux"), ("seconds", "flux")),
        of_joules=(),
        of_seconds=(),
    )
    sigma = Spread(np.array([0.1, 0.2, 0.05, 0.9]), 0.3, np.array([30.0, 10.0, 5.0, 100.0]))
    noise = known.noise(sigma)
    assert noise == {"flux": (pytest.approx(np.sqrt((0.3 + 0.4) / 40)), 40.0), "sd2": (pytest.approx(0.05), 5.0)}
    energies = Spread(sigma.of_group[:3], sigma.common, sigma.count[:3])
    assert known.pooled(sigma) == energies.pooled != sigma.pooled
    tau = Spread(np.array([0.2, 0.7]), 0.3, np.array([4.0, 8.0]))
    assert known.shape_spread(tau) == {"flux": pytest.approx(0.2)}
    assert known.pooled_shapes(tau) == pytest.approx(0.2)
