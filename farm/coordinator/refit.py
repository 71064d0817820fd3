"""When the laws are fitted again: some time after new results came, in a process of its own.

A process, rather than a thread or a task on a queue: the coordinator's loop stays quick, the memory of a fit goes back
to the system, a fit that crashes takes nobody along, and no worker has to be there for it. `analysis.refit` takes a
lease in SQL, so that two coordinators do not fit twice.
"""

from __future__ import annotations

import logging
import os
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
SHARE: Final = 0.1  # of the coordinator's CPU time, with its refits, while results come without a pause
QUIET_SECONDS: Final = 3.0  # without a new result are a pause
LONGEST_SECONDS: Final = 600.0  # without a refit, whatever it costs


class RefitTicker:
    """Starts at most one refit at a time, at most one in ``refit_seconds``, and only when the number of results
    changed since the last one began.

    After the first, while results come without a pause, refits take no more than SHARE of the coordinator's CPU time,
    judged by how long the last one took, and of how many results; but one starts at least every LONGEST_SECONDS.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        command: Sequence[str] = tuple(imports.python("-m", "farm.coordinator.refit")),
        clock: Callable[[], float] = time.monotonic,
        cpu_seconds: Callable[[], float] = time.process_time,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._cpu_seconds = cpu_seconds
        self._child = Child(settings, "refit", command)
        self._started: float | None = None
        self._spent = 0.0  # seconds that all refits took
        self._last_seconds = 0.0
        self._covered = 0
        self._results = 0  # results at the last look
        self._timing = False  # how long the last one took is not known yet
        self._changed = clock()

    def tick(self, results: int) -> bool:
        """Given the number of results now, start a refit if one is due; whether it did."""
        now = self._clock()
        if results != self._results:
            self._results, self._changed = results, now
        if self._is_under_way(now) or results == self._covered:
            return False
        if self._started is not None:
            since = now - self._started
            if since < self._settings.refit_seconds:
                return False
            if not (since >= LONGEST_SECONDS or self._is_quiet(now) or self._is_affordable(results)):
                return False
        self._covered = results
        self._started = now
        self._child.start()
        self._timing = True
        return True

    def _is_quiet(self, now: float) -> bool:
        return now - self._changed >= min(QUIET_SECONDS, self._settings.refit_seconds)

    def _is_affordable(self, results: int) -> bool:
        expected = self._last_seconds * max(1.0, results / max(1, self._covered))
        return self._spent + expected <= SHARE * (self._cpu_seconds() + self._spent + expected)

    def _is_under_way(self, now: float) -> bool:
        """Whether a refit runs; how long it took is noted when it has ended."""
        if self.running:
            return True
        if self._timing and self._started is not None:
            self._last_seconds = now - self._started
            self._spent += self._last_seconds
            self._timing = False
        return False

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
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as of analysis.cli: threads would wait for each other
    getattr(import_module(MODULE), FUNCTION)(load())


if __name__ == "__main__":
    main()
