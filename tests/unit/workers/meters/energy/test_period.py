"""The period of a counter's ticks, from brackets of which a busy host closes some late."""

from __future__ import annotations

import numpy as np
import pytest

from workers.meters.energy.period import coherent_period


@pytest.mark.parametrize("ticks", [12, 24, 96])
def test_a_narrow_bracket_tells_more_than_a_wide_one(ticks: int) -> None:
    """Every other bracket is closed later and later, up to 80 ms: by their middles alone the period is longer by the
    part of a tick that these drift over all ticks. The narrow ones know better."""
    number = np.arange(1, ticks + 1)
    true = 0.1 * number
    late = np.where(number % 2, 0.0002, np.linspace(0, 0.08, ticks))
    found = coherent_period(true - 0.0002, true + late, 0.101, within=0.06)
    # The search goes in steps of an eighth of what makes one cycle more or less over all ticks; half a step is missed.
    assert abs(found / 0.1 - 1) * ticks < 1 / 16


def test_a_bracket_of_no_width_is_one_among_others() -> None:
    """A clock that stands still between two readings makes one: it must not count for all, by a weight without end."""
    true = 0.1 * np.arange(1, 25)
    low, high = true - 0.0005, true + 0.0005
    low[3] = high[3] = true[3]
    assert coherent_period(low, high, 0.101, within=0.06) == pytest.approx(0.1, rel=0.003)
