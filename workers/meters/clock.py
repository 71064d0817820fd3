"""The time that meters and the procedure live by: the host's, or a virtual one for simulated and faked devices.

A clock also drives what has to happen beside the work: ``drive(task)`` calls ``task()``, which returns the time at
which it wants to be called next. The system clock does so from a daemon thread, a virtual clock whenever somebody
sleeps, so that one sampler serves both.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

Task = Callable[[], float]  # does its work, returns when it wants to be called next, in seconds of its clock
Stop = Callable[[], None]  # ends a task; returns when it has ended; may be called twice

# A real sleep shorter than this costs more in overhead than it waits; virtual clocks save up until they owe so much.
SHORTEST_SLEEP_SECONDS = 0.002


class Clock(Protocol):
    def now(self) -> float:
        """Seconds on a monotonic axis."""

    def sleep(self, seconds: float) -> None:
        """Let that much of this clock's time pass."""

    def drive(self, task: Task) -> Stop:
        """Call the task now and then whenever it asks to be, until stopped."""


class SystemClock:
    """The host's monotonic clock."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)

    def drive(self, task: Task) -> Stop:
        stopped = threading.Event()

        def loop() -> None:
            due = self.now()
            while not stopped.wait(max(0.0, due - self.now())):
                due = task()

        thread = threading.Thread(target=loop, name="sampler", daemon=True)  # a daemon: never outlives its process
        thread.start()

        def stop() -> None:
            stopped.set()
            if thread is not threading.current_thread():
                thread.join()

        return stop


class VirtualClock:
    """Time that passes only when somebody sleeps; ``speed`` of its seconds cost one real second (None: none)."""

    def __init__(self, start: float = 0.0, speed: float | None = None) -> None:
        self._now = start
        self._speed = speed
        self._owed = 0.0
        self._tasks: dict[int, tuple[float, Task]] = {}
        self._ids = 0

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        until = self.now() + max(0.0, seconds)
        while (due := min(self._tasks, key=lambda i: self._tasks[i][0], default=None)) is not None:
            at, task = self._tasks[due]
            if at > until:
                break
            self._advance(max(0.0, at - self.now()))
            at = task()
            if due in self._tasks:  # it may have stopped itself
                self._tasks[due] = (max(at, self.now()), task)
            until = max(until, self.now())
        self._advance(until - self.now())

    def drive(self, task: Task) -> Stop:
        self._ids += 1
        key = self._ids
        self._tasks[key] = (self.now(), task)

        def stop() -> None:
            self._tasks.pop(key, None)

        return stop

    def _advance(self, seconds: float) -> None:
        """Move the hands; a clock that lives elsewhere (in a library that plays a device) overrides this and now()."""
        self._now += seconds
        if self._speed:
            self._owed += seconds / self._speed
            if self._owed >= SHORTEST_SLEEP_SECONDS:
                time.sleep(self._owed)
                self._owed = 0.0
