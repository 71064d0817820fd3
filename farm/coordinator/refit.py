"""When the laws are fitted again: some time after new results came, in a process of its own.

A process, rather than a thread or a task on a queue: the coordinator's loop stays quick, the memory of a fit goes back
to the system, a fit that crashes takes nobody along, and no worker has to be there for it. `analysis.refit` takes a
lease in SQL, so that two coordinators do not fit twice.
"""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Final

from farm import imports
from farm.processes import spawn, stop
from farm.settings import Settings, load

logger = logging.getLogger(__name__)

MODULE: Final = "analysis.refit"
FUNCTION: Final = "refit_if_new"
NEEDS: Final = ("sklearn", "scipy")


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
        self._command = command
        self._clock = clock
        self._log = settings.run / "logs" / "refit.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._started = float("-inf")
        self._covered = 0

    def tick(self, results: int) -> bool:
        """Given the number of results now, start a refit if one is due; whether it did."""
        if self.running or results == self._covered or self._clock() - self._started < self._settings.refit_seconds:
            return False
        self._covered = results
        self._started = self._clock()
        self._process = spawn(self._command, log=self._log, env=child_environment(self._settings))
        return True

    @property
    def running(self) -> bool:
        if self._process is None:
            return False
        status = self._process.poll()
        if status is None:
            return True
        if status:
            logger.error("refit ended with status %s, see %s", status, self._log)
        self._process = None
        return False

    def close(self) -> None:
        if self._process is not None:
            stop(self._process, grace_seconds=1.0)


def available() -> bool:
    """Whether this installation can fit: the extra [analysis]."""
    return all(find_spec(name) is not None for name in NEEDS) and find_spec(MODULE) is not None


def child_environment(settings: Settings) -> dict[str, str]:
    """The environment of a process that shall see the same home, database and broker; secrets travel by it, never by
    a command line."""
    environment = {**imports.environment(), "FARM_HOME": str(settings.home)}
    if settings.database_url is not None:
        environment["FARM_DATABASE_URL"] = settings.database_url.get_secret_value()
    if settings.broker_url is not None:
        environment["FARM_BROKER_URL"] = settings.broker_url.get_secret_value()
    return environment


def main() -> None:
    """Refit, if there is something new; the program of the ticker's process."""
    getattr(import_module(MODULE), FUNCTION)(load())


if __name__ == "__main__":
    main()
