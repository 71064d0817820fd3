"""Requests to `farm up` to start a worker again that had ended: files in its home, taken by its supervisor."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from farm.domain.errors import OperationError, RequestError, unknown_name
from farm.domain.worker import SIMULATED
from farm.files.atomic import write_private
from farm.local.supervisor import Supervisor
from farm.settings import Settings

logger = logging.getLogger(__name__)

PREFIX: Final = "worker "
ANSWER_SECONDS: Final = 10.0


def request(settings: Settings, name: str | None) -> list[str]:
    """Have the worker of that name started again, or all that ended; the names of those that were.

    RequestError where it is unknown, or runs; OperationError where nobody answers. A farm must run in this home.
    """
    folder = _folder(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OperationError(f"{folder}: cannot be made: {error.strerror}") from None
    asked = folder / f"{time.time_ns()}.ask"
    write_private(asked, json.dumps({"worker": None if name is None else _short(name)}))
    answer = asked.with_suffix(".answer")
    deadline = time.monotonic() + ANSWER_SECONDS
    while not answer.exists():
        if time.monotonic() > deadline:
            asked.unlink(missing_ok=True)
            raise OperationError(f"`farm up` of {settings.home} did not answer in {ANSWER_SECONDS:g} s")
        time.sleep(0.05)
    document = json.loads(answer.read_text())
    answer.unlink()
    if name is not None and not document["restarted"]:
        if _short(name) in document["known"]:
            raise RequestError("worker", name, "one that has ended: `farm workers drain` ends it after its job")
        raise unknown_name("worker", name, document["known"])
    return list(document["restarted"])


class Restarts:
    """What the supervisor does with such requests."""

    def __init__(self, settings: Settings, supervisor: Supervisor) -> None:
        self._folder = _folder(settings)
        self._supervisor = supervisor

    def look(self) -> None:
        """Answer what was asked."""
        for path in sorted(self._folder.glob("*.ask")):
            try:
                wanted = json.loads(path.read_text())["worker"]
            except (OSError, ValueError, KeyError, TypeError):
                wanted = ""
            with suppress(OSError):
                path.unlink()
            names = [name for name in self._supervisor.names if name.startswith(PREFIX)]
            restarted = [name for name in names if wanted in (None, name.removeprefix(PREFIX))]
            done = [name for name in restarted if self._supervisor.restart(name)]
            answer = {"restarted": _shortened(done), "known": _shortened(names)}
            try:
                write_private(path.with_suffix(".answer"), json.dumps(answer))
            except OperationError as error:  # who asked is told that there was no answer; the farm goes on
                logger.warning("a request to restart is not answered: %s", error)


def _folder(settings: Settings) -> Path:
    return settings.run / "restart"


def _short(name: str) -> str:
    """A worker as `farm up` calls it: sim-a100-0@host-mark is its a100-0."""
    return name.partition("@")[0].removeprefix(SIMULATED)


def _shortened(names: Sequence[str]) -> list[str]:
    return [name.removeprefix(PREFIX) for name in names]
