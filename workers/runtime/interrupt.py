"""How a measurement is ended half way: the worker's parent stops, or the heartbeat thread lost the lease.

A signal handler raises in the main thread, but only inside ``with interrupt.allowed()``: never within a transaction
or while a result is written to the spool.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from types import FrameType
from typing import Final

from workers.interrupted import Interrupted

# Celery's children leave both alone.
STOP_SIGNAL: Final = signal.SIGUSR2  # sent by the worker's parent
FENCE_SIGNAL: Final = signal.SIGURG  # sent by a thread of this process to its main thread


class Why(StrEnum):
    STOPPING = "the worker stops"
    FENCED = "the lease was lost or the job cancelled"


class Interrupt:
    """Installed once in the process that measures, from its main thread."""

    def __init__(self) -> None:
        self._allowed = False
        self._fenced = False
        self._token: object = None
        self._lock = threading.Lock()
        self.stopping = False
        self.draining = False  # finish what runs: a request to stop is not to end it

    def install(self) -> None:
        signal.signal(STOP_SIGNAL, self._on_stop)
        signal.signal(FENCE_SIGNAL, self._on_fence)

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Let a measurement be ended in this block. Raises Interrupted, at once where that was asked for before."""
        try:
            self._allowed = True
            self._raise_if_asked()
            yield
        finally:
            self._allowed = False

    def concerns(self, token: object) -> None:
        """Note that the job of that token runs now (None: no job); a lost lease of an earlier one is forgotten."""
        with self._lock:
            self._token = token
            self._fenced = False

    def fence(self, token: object) -> None:
        """End the measurement of that job, should it still run: its lease is gone. May be called from any thread."""
        with self._lock:
            if token is not None and token is self._token:
                self._fenced = True
                os.kill(os.getpid(), FENCE_SIGNAL)

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        if not self.draining:
            self.stopping = True
        self._raise_if_asked()

    def _on_fence(self, _number: int, _frame: FrameType | None) -> None:
        self._raise_if_asked()

    def _raise_if_asked(self) -> None:
        if self._allowed and (self._fenced or self.stopping):
            self._allowed = False
            raise Interrupted(Why.FENCED if self._fenced else Why.STOPPING)
