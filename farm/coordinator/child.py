"""A task of the coordinator's that runs in a process of its own: at most one at a time, its output in a log."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Sequence
from pathlib import Path

from farm import imports
from farm.processes import spawn, stop
from farm.settings import Settings

logger = logging.getLogger(__name__)


class Child:
    """A process that is started again and again; ``name`` is what its log is called."""

    def __init__(self, settings: Settings, name: str, command: Sequence[str]) -> None:
        self._settings = settings
        self._name = name
        self._command = command
        self._log: Path = settings.run / "logs" / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; not to be called while it runs."""
        self._process = spawn(self._command, log=self._log, env=environment(self._settings))

    @property
    def running(self) -> bool:
        """Whether it has not ended yet; a failure is said once."""
        if self._process is None:
            return False
        status = self._process.poll()
        if status is None:
            return True
        if status:
            logger.error("%s ended with status %s, see %s", self._name, status, self._log)
        self._process = None
        return False

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            stop(self._process, grace_seconds=1.0)


def environment(settings: Settings) -> dict[str, str]:
    """The environment of a process that shall see the same home, database and broker; secrets travel by it, never by
    a command line."""
    variables = {**imports.environment(), "FARM_HOME": str(settings.home)}
    if settings.database_url is not None:
        variables["FARM_DATABASE_URL"] = settings.database_url.get_secret_value()
    if settings.broker_url is not None:
        variables["FARM_BROKER_URL"] = settings.broker_url.get_secret_value()
    return variables
