"""Calls of the database that are repeated while it is away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from farm.domain import OperationError
from workers.runtime.interrupt import Interrupt

T = TypeVar("T")

logger = logging.getLogger(__name__)

FIRST_WAIT_SECONDS: Final = 0.1
LONGEST_WAIT_SECONDS: Final = 5.0  # between two tries


class DatabaseRetry:
    """Repeats a call for as long as the database is away, unless the worker is to stop."""

    def __init__(self, worker: str, interrupt: Interrupt, closing: threading.Event) -> None:
        self._worker = worker
        self._interrupt = interrupt
        self._closing = closing

    def __call__(self, action: Callable[[], T]) -> T:
        """Return what ``action`` returns once it does; OperationError only when the worker is to stop meanwhile."""
        wait = FIRST_WAIT_SECONDS
        while True:
            try:
                return action()
            except OperationError as error:
                if self._interrupt.stopping or self._closing.is_set():
                    raise
                if wait > FIRST_WAIT_SECONDS:
                    logger.warning("worker %s: waiting: %s", self._worker, error)
                self._closing.wait(wait)
                wait = min(wait * 2, LONGEST_WAIT_SECONDS)
