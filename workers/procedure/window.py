"""One window of work that nobody can repeat, such as a command: idle, the work, a short rest, idle."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from workers.interrupted import Interrupted
from workers.meters.base import PAD, Energy, Meter, Span
from workers.procedure.rest import FEWEST_STEPS, idle, rest

STEP_SECONDS: Final = 0.5  # of idle: there is one on each side and no repeat, so that its scatter needs more readings
LONGEST_TAIL_SECONDS: Final = 1.0  # after the work a device needs a moment until it draws its idle power


class Interruptions(Protocol):
    """What may end a window half way, such as signals."""

    @property
    def impatient(self) -> bool:
        """Whether what is left is to be cut short."""

    def allowed(self) -> AbstractContextManager[None]:
        """Within it, Interrupted may be raised."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The energy and duration of a window."""

    energy: Energy
    seconds: float  # of the work
    interrupted: bool  # somebody ended it on the way: what is there is a part

    @property
    def complete(self) -> bool:
        """False where it was interrupted or the device was lost."""
        return self.energy.complete and not self.interrupted


def measure_window(
    meter: Meter, label: str, work: Callable[[], bool], *, idle_seconds: float, interruptions: Interruptions
) -> Window:
    """Measure what ``work`` does; it returns False where it was ended half way.

    Interrupted where it is raised in the first idle: the work has not begun. From its begin on there is always a
    result: of what there is by then.
    """
    idle_seconds = max(idle_seconds, meter.shortest_idle_seconds)
    tail = min(LONGEST_TAIL_SECONDS, idle_seconds / 4)
    with interruptions.allowed():
        meter.start()
        spans = [idle(meter, idle_seconds, step_seconds=STEP_SECONDS)]
    start = meter.edge()
    finished = work()
    end = meter.edge()
    spans.append(Span(label=label, start=start, end=end))
    try:
        with interruptions.allowed():
            # In any case: without it the end of the window cannot be resolved.
            spans.append(rest(meter, PAD, tail, steps=FEWEST_STEPS))
            after = idle_seconds if finished else meter.shortest_idle_seconds
            baseline = idle(meter, after, step_seconds=STEP_SECONDS, hurry=lambda: interruptions.impatient)
        spans += [] if interruptions.impatient else [baseline]
    except Interrupted:
        finished = False
        meter.edge()
    meter.stop()
    energy = meter.energy(spans)
    return Window(energy=energy, seconds=end - start, interrupted=not finished)
