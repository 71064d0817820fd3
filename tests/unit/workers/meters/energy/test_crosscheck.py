"""What the power log can say of a counter's single ticks: as much as it was read around them."""

from __future__ import annotations

import numpy as np
import pytest

from workers.meters.base import IDLE, Probe, Recording, Span
from workers.meters.nvml.evaluate import evaluate

EDGES = [0.0, 4.0, 5.0, 9.0]  # idle, work, idle
WATTS = [60.0, 300.0, 60.0]
LEAP_SECONDS = 4.5


def flags(leap: float, gap: float) -> tuple[str, ...]:
    """Of a counter that in the middle of the work gives so many joules too much at once, where the power log, read
    every 20 ms otherwise, was not read for ``gap`` seconds."""
    energy = np.concatenate([[0.0], np.cumsum(np.array(WATTS) * np.diff(EDGES))])
    ticks = np.arange(0.037, EDGES[-1], 0.1)
    joules = np.interp(ticks, EDGES, energy) + np.where(ticks > LEAP_SECONDS, leap, 0.0)
    counter = []
    for tick, before, after in zip(ticks[1:].tolist(), joules[:-1].tolist(), joules[1:].tolist(), strict=True):
        counter += [(tick - 0.0011, tick - 0.001, round(before, 3)), (tick + 0.001, tick + 0.0011, round(after, 3))]
    first = LEAP_SECONDS - 0.03
    times = np.concatenate([first - 0.02 * np.arange(220)[::-1], first + gap + 0.02 * np.arange(210)])
    watts = np.array(WATTS)[np.searchsorted(EDGES, times, side="right") - 1]
    power = tuple(zip(times.tolist(), watts.tolist(), strict=True))
    probe = Probe(has_counter=True, tick=0.1, power="instant", power_source="instant", limit_watts=400.0)
    spans = [Span(label=IDLE, start=0.0, end=4.0), Span(label="work", start=4.0, end=5.0)]
    recording = Recording(counter=tuple(counter), power=power, probe=probe)
    return evaluate(recording, [*spans, Span(label=IDLE, start=5.0, end=9.0)]).flags


@pytest.mark.parametrize(
    ("leap", "gap", "found"),
    [(-20.0, 0.14, True), (-20.0, 0.16, False), (25.0, 0.075, True), (25.0, 0.085, False), (0.0, 0.02, False)],
)
def test_a_leap_is_told_unless_a_dip_of_150_ms_or_a_burst_of_80_may_have_passed_unread(
    leap: float, gap: float, found: bool
) -> None:
    assert flags(leap, gap) == (("counter_power_disagree",) if found else ())
