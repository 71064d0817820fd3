"""What was measured beside predictions: of an image, above idle, or not at all."""

from __future__ import annotations

import math

import pytest

from analysis.table import Table
from farm import catalog
from farm.domain.table import parse_rows
from farm.web.measured import Measured, at, per_image

HEADER = [
    "model", "gpu", "resolution", "steps", "precision", "cfg", "prompts", "energy_joules", "duration_seconds",
    "idle_watts", "includes_idle",
]  # fmt: skip


def table(*lines: tuple[str, str, str, str, str]) -> Table:
    """Rows of GPU, joules, seconds, idle watts, and whether idle is in the joules; 2 images each."""
    words = [["sd2", gpu, "512", "10", "fp16", "0", "2", *rest] for gpu, *rest in lines]
    return Table.from_rows(parse_rows(HEADER, words, source="t"))


def test_idle_power_is_taken_off_where_it_is_in_the_energy():
    idle = catalog.gpu("a100").idle_watts
    rows = table(
        ("a100", "900", "3", "", "0"),
        ("a100", "900", "3", "100", "1"),
        ("a100", "900", "3", "", "1"),
    )
    assert per_image(rows).tolist() == pytest.approx([450, 300, (900 - 3 * idle) / 2])


@pytest.mark.parametrize(
    "line",
    [
        ("unheard", "900", "3", "", "1"),  # nobody knows what it draws idle
        ("a100", "900", "10", "100", "1"),  # idle alone took more
        ("a100", "", "3", "", "0"),
    ],
)
def test_a_row_that_says_no_energy_above_idle_is_not_drawn(line):
    rows = table(line, ("a100", "900", "3", "", "0"))
    assert math.isnan(per_image(rows)[0])
    assert at(rows, rows.configuration(1)) == {("sd2", "a100"): Measured(450.0, 1.5, 1)}
