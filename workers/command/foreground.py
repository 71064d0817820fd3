"""What Ctrl-C does to a command in the foreground: the first ends the measurement, further ones only hasten that."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from workers.interrupted import Interrupted

NUMBERS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruptions:
    """Handles SIGINT, SIGTERM and SIGHUP from when it is made, in the main thread, to the end of the process.

    The first one raises Interrupted, at once or when ``allowed`` is entered next; nowhere else is anything cut short.
    What was ignored when the process started stays so (nohup, a script's background job).
    """

    def __init__(self) -> None:
        self.number: int | None = None  # of the first signal
        self.impatient = False  # there was another one
        self._raised = False
        self._allowed = False
        self._handled = [number for number in NUMBERS if signal.getsignal(number) is not signal.SIG_IGN]
        for number in self._handled:
            signal.signal(number, self._on_signal)

    @property
    def exit_code(self) -> int | None:
        """The exit code that a shell would return for the first signal; None where there was none."""
        return None if self.number is None else 128 + self.number

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Let signals raise Interrupted in this block; it is raised once in all."""
        try:
            self._allowed = True
            self._raise_once()
            yield
        finally:
            self._allowed = False

    def over(self) -> None:
        """Ignore signals until the interpreter is gone, since the result is out."""
        for number in self._handled:
            signal.signal(number, signal.SIG_IGN)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.number is not None:
            self.impatient = True
            return
        self.number = number
        self._raise_once()

    def _raise_once(self) -> None:
        if self._allowed and self.number is not None and not self._raised:
            self._raised = True
            raise Interrupted(signal.Signals(self.number).name)
