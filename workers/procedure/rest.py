"""Stretches of time in which nothing is asked of the device: the idle baseline, and the rest beside work."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from workers.meters.base import IDLE, Meter, Span

# A meter that reads when asked is asked so often, so that it sees the scatter of idle.
STEP_SECONDS: Final = 1.0
FEWEST_STEPS: Final = 4  # of a baseline: a spread needs a few readings


def rest(
    meter: Meter,
    label: str,
    seconds: float,
    *,
    steps: int = 1,
    step_seconds: float = STEP_SECONDS,
    hurry: Callable[[], bool] = lambda: False,
) -> Span:
    """Let that much time pass, in so many steps or more, each of ``step_seconds`` at most.

    Cut short once ``hurry`` says so.
    """
    start = end = meter.edge()
    steps = max(steps, math.ceil(seconds / step_seconds))
    for _ in range(steps):
        if hurry():
            break
        meter.clock.sleep(seconds / steps)
        end = meter.edge()
    return Span(label=label, start=start, end=end)


def idle(
    meter: Meter, seconds: float, *, step_seconds: float = STEP_SECONDS, hurry: Callable[[], bool] = lambda: False
) -> Span:
    """Measure the baseline: for so long, and as long as the meter needs to tell how good it is."""
    seconds = max(seconds, meter.shortest_idle_seconds)
    return rest(meter, IDLE, seconds, steps=FEWEST_STEPS, step_seconds=step_seconds, hurry=hurry)


def measure_idle(meter: Meter, seconds: float) -> tuple[float | None, float | None]:
    """Measure idle power, in watts, and its standard error, in the state that the device is in."""
    meter.start()
    try:
        span = idle(meter, seconds)
    finally:
        meter.stop()
    energy = meter.energy([span])
    return energy.idle_watts, energy.idle_watts_std


def cold_idle_watts(meter: Meter, seconds: float) -> float | None:
    """Measure idle power, in watts, before anything is loaded; None for a meter that estimates."""
    return None if "estimated" in meter.flags else measure_idle(meter, seconds)[0]
