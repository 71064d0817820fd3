"""Where the contract suite plays each meter: a module a meter, of its name, that exports ``STAGES``.

A stage is a function that yields one ``Stage``; those that read a real clock are marked ``alone``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.fake_nvml.fake import Fake
from workers.meters.base import Meter


@dataclass(frozen=True)
class Stage:
    """A meter, and the means to make its device draw power."""

    meter: Meter
    draw: Callable[[float], float | None]  # draw, for so many seconds; joules above idle, None: not known
    error: float = 0.01  # relative, that an energy of 2.2 s may have


def drawing(gpu: Fake, watts: float) -> Callable[[float], float]:
    """Draw so much on a fake GPU, by its clock."""

    def draw(seconds: float) -> float:
        start = gpu.now()
        gpu.draw(watts)
        gpu.clock.sleep(seconds)
        gpu.draw(0.0)
        return gpu.dynamic(start, gpu.now())

    return draw
