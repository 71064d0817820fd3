"""Who chooses what adaptive sweeps measure next: a process of its own, while one is open.

A process for the reasons that a refit has one. It stays as long as there is something to choose, so that the law is
loaded once; `analysis.adaptive` takes a lease in SQL, so that two coordinators do not choose twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final

from farm import imports
from farm.coordinator.child import Child
from farm.settings import Settings, load

MODULE: Final = "analysis.adaptive"
FUNCTION: Final = "choose_while_open"
AGAIN_SECONDS: Final = 2.0  # between two starts, should it fail


class AdaptiveTicker:
    """Keeps one process that chooses, while there is something to choose."""

    def __init__(
        self,
        settings: Settings,
        *,
        command: Sequence[str] = tuple(imports.python("-m", "farm.coordinator.adapt")),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._child = Child(settings, "adaptive", command)
        self._started = float("-inf")

    def tick(self, *, open_sweeps: bool) -> bool:
        """Start the process where there is something to choose and none runs; whether it did."""
        if self._child.running or not open_sweeps or self._clock() - self._started < AGAIN_SECONDS:
            return False
        self._started = self._clock()
        self._child.start()
        return True

    def close(self) -> None:
        """End the process."""
        self._child.close()


def main() -> None:
    """Choose while there is something to choose; the program of the ticker's process."""
    from farm import logs

    settings = load()
    logs.configure(settings)
    getattr(import_module(MODULE), FUNCTION)(settings)


if __name__ == "__main__":
    main()
