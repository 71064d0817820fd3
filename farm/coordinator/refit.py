"""When the laws are fitted again: some time after new results came, in a process of its own.

A process, rather than a thread or a task on a queue: the coordinator's loop stays quick, the memory of a fit goes back
to the system, a fit that crashes takes nobody along, and no worker has to be there for it. `analysis.refit` takes a
lease in SQL, so that two coordinators do not fit twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Final

from farm import imports
from farm.coordinator.child import Child
from farm.settings import Settings, load

logger = logging.getLogger(__name__)

MODULE: Final = "analysis.refit"
FUNCTION: Final = "refit_if_new"
NEEDS: Final = ("sklearn",)


class RefitTicker:
    """Starts at most one refit at a time, at most one in ``refit_seconds``, and only when the number of results
    changed since the last one began."""

    def __init__(
        self,
        settings: Settings,
        *,
        command: Sequence[str] = tuple(imports.python("-m", "farm.coordinator.refit")),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._child = Child(settings, "refit", command)
        self._started = float("-inf")
        self._covered = 0

    def tick(self, results: int) -> bool:
        """Given the number of results now, start a refit if one is due; whether it did."""
        if self.running or results == self._covered or self._clock() - self._started < self._settings.refit_seconds:
            return False
        self._covered = results
        self._started = self._clock()
        self._child.start()
        return True

    @property
    def running(self) -> bool:
        return self._child.running

    def close(self) -> None:
        self._child.close()


def available() -> bool:
    """Whether this installation can fit: the extra [analysis]."""
    return all(find_spec(name) is not None for name in NEEDS) and find_spec(MODULE) is not None


def main() -> None:
    """Refit, if there is something new; the program of the ticker's process."""
    getattr(import_module(MODULE), FUNCTION)(load())


if __name__ == "__main__":
    main()
