"""Keeps the processes of an embedded farm running: what dies is started again, later each time it dies young."""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from farm.broker.embedded import EmbeddedBroker
from farm.domain.errors import OperationError
from farm.processes import kill_group, spawn

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.2
FIRST_DELAY_SECONDS: Final = 0.5
LONGEST_DELAY_SECONDS: Final = 15.0
STEADY_SECONDS: Final = 10.0  # what ran for so long has not died young


class Service(Protocol):
    """A part of the farm that the supervisor starts, watches and ends."""

    name: str

    def start(self) -> None:
        """Start it; OperationError when that fails."""

    def ended(self) -> int | None:
        """None while it runs, else its exit status."""

    def ask_to_stop(self) -> None:
        """Begin to end it; returns at once."""

    def kill(self) -> None:
        """End it now, with everything it started."""


class ProcessService:
    """A command of this project in a process of its own, its output in a log file."""

    def __init__(self, name: str, argv: Sequence[str], *, env: dict[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._argv = argv
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = spawn(self._argv, log=self.log, env=self._env)

    def ended(self) -> int | None:
        return self._process.poll() if self._process is not None else 0

    def ask_to_stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        if self._process is not None:
            kill_group(self._process.pid)
            self._process.wait()


class BrokerService:
    """The embedded broker."""

    name = "broker"

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._broker = broker

    def start(self) -> None:
        self._broker.start()

    def ended(self) -> int | None:
        return None if self._broker.running else 1

    def ask_to_stop(self) -> None:
        identity = self._broker.identity
        if identity is not None:
            identity.signal(signal.SIGTERM)

    def kill(self) -> None:
        self._broker.kill()


@dataclass
class _Watch:
    service: Service
    delay: float = FIRST_DELAY_SECONDS
    started: float = 0.0
    due: float | None = None  # when it is started again
    finished: bool = field(default=False)  # ended by itself, with success: wanted so (a drained worker)


class Supervisor:
    """Runs services until told to stop; ``clock`` gives monotonic seconds."""

    def __init__(self, services: Sequence[Service], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._watches = [_Watch(service) for service in services]
        self._clock = clock

    def start(self) -> None:
        """Start all, in order. Should one fail, those before it are ended and its OperationError raised."""
        try:
            for watch in self._watches:
                watch.service.start()
                watch.started = self._clock()
        except BaseException:
            self.kill()
            raise

    @property
    def names(self) -> list[str]:
        """The services, in the order of their start."""
        return [watch.service.name for watch in self._watches]

    def restart(self, name: str) -> bool:
        """Start a service again that had ended by itself; False for one that runs, or is unknown."""
        for watch in self._watches:
            if watch.service.name == name and watch.finished:
                watch.finished = False
                self._restart(watch)
                return True
        return False

    def run(self, stop: threading.Event, chores: Sequence[Callable[[], None]] = ()) -> None:
        """Watch over them until ``stop`` is set; ``chores`` are done at every look."""
        while not stop.wait(POLL_SECONDS):
            for chore in chores:
                chore()
            for watch in self._watches:
                self._look_after(watch)

    def stop(self, grace_seconds: float | None, hurry: threading.Event) -> None:
        """End them in the reverse order of their start, those of one sort together; kill what has not ended
        after ``grace_seconds`` (None: wait for as long as it takes) or when ``hurry`` is set."""
        for group in self._groups():
            for watch in group:
                watch.service.ask_to_stop()
            deadline = None if grace_seconds is None else self._clock() + grace_seconds
            while any(w.service.ended() is None for w in group) and not hurry.is_set():
                if deadline is not None and self._clock() > deadline:
                    for watch in group:
                        if watch.service.ended() is None:
                            logger.warning("%s did not end in %g s and is killed", watch.service.name, grace_seconds)
                    break
                hurry.wait(0.05)
            for watch in group:
                watch.service.kill()  # also what it may have left behind

    def kill(self) -> None:
        """End everything now."""
        for watch in reversed(self._watches):
            watch.service.kill()

    def _look_after(self, watch: _Watch) -> None:
        if watch.finished:
            return
        now = self._clock()
        if watch.due is not None:
            if now >= watch.due:
                self._restart(watch)
            return
        status = watch.service.ended()
        if status is None:
            return
        if status == 0:
            logger.info("%s has ended", watch.service.name)
            watch.finished = True
            return
        if now - watch.started > STEADY_SECONDS:
            watch.delay = FIRST_DELAY_SECONDS
        watch.due = now + watch.delay
        logger.warning("%s died (%s), starts again in %.1f s", watch.service.name, _in_words(status), watch.delay)
        watch.delay = min(watch.delay * 2, LONGEST_DELAY_SECONDS)

    def _restart(self, watch: _Watch) -> None:
        watch.due = None
        watch.started = self._clock()
        try:
            watch.service.kill()  # what the dead one left
            watch.service.start()
        except OperationError as error:
            logger.error("%s: %s", watch.service.name, error)
            watch.due = self._clock() + watch.delay
            watch.delay = min(watch.delay * 2, LONGEST_DELAY_SECONDS)

    def _groups(self) -> list[list[_Watch]]:
        """Workers first, then the coordinator, the broker last: each can still say goodbye to the next."""
        groups: dict[str, list[_Watch]] = {}
        for watch in reversed(self._watches):
            groups.setdefault(watch.service.name.partition(" ")[0], []).append(watch)
        return list(groups.values())


def _in_words(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    names = {number.value: number.name for number in signal.Signals}  # real-time signals but two have none
    return f"killed by {names.get(-status, f'signal {-status}')}"
