"""The time that meters and the procedure live by: the host's, or a virtual one for simulated and faked devices."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds on a monotonic axis."""

    def sleep(self, seconds: float) -> None:
        """Let that much of this clock's time pass."""


class SystemClock:
    """The host's monotonic clock."""

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)


class VirtualClock:
    """Time that passes only when somebody sleeps; ``speed`` of its seconds cost one real second (None: none)."""

    def __init__(self, start: float = 0.0, speed: float | None = None) -> None:
        self._now = start
        self._speed = speed

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._now += seconds
            if self._speed:
                time.sleep(seconds / self._speed)
