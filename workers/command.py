"""A command under measurement: made ready before its window opens, ended with all that it started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Final, NoReturn, Self

import psutil

from farm.domain import OperationError, RequestError
from farm.processes import tie_to_parent

TERMINAL_SECONDS: Final = 0.2  # a terminal's Ctrl-C has reached the command already; one sent to us alone has not
GRACE_SECONDS: Final = 3.0  # between asking and killing
_PR_SET_CHILD_SUBREAPER: Final = 36


class Interrupted(BaseException):
    """Ctrl-C, or SIGTERM: the measurement ends here. ``code`` is what a shell would return for it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.code = 128 + number
        super().__init__(signal.Signals(number).name)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, SIGINT, SIGTERM and SIGHUP raise Interrupted in the main thread."""

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        raise Interrupted(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def check(argv: Sequence[str]) -> None:
    """RequestError where there is no such command, before anything is measured for its sake."""
    if shutil.which(argv[0]) is None:
        there = os.path.exists(argv[0]) and os.sep in argv[0]  # noqa: PTH110
        raise RequestError("CMD", argv[0], "a file that can be executed" if there else "a command that is on PATH")


class Command:
    """Forked at once, as `perf stat` does, but executing only from ``start`` on: the window holds no fork of ours.

    Make it before the process has threads or has touched the device. It shares the terminal and, should this process
    be killed, dies with it. What it leaves behind comes to this process, so that ``end`` finds all of it.
    """

    def __init__(self, argv: Sequence[str], *, stdout: int = 1) -> None:
        self._others = set(psutil.Process().children(recursive=True))
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._argv = list(argv)
        self._go_read, self._go = os.pipe()
        self._failed, failed_write = os.pipe()  # closed by a successful exec
        tie = tie_to_parent()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self._go)
                if tie:
                    tie()
                if os.read(self._go_read, 1):
                    os.dup2(stdout, 1)
                    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would pass that on
                    os.execvp(self._argv[0], self._argv)  # noqa: S606  (the user's own command, no shell)
            except OSError as error:
                os.write(failed_write, str(error.errno).encode())
            finally:
                os._exit(127)
        os.close(self._go_read)
        os.close(failed_write)
        self._status: int | None = None

    def start(self) -> None:
        """Let it execute; returns when it does. OperationError where the system refuses."""
        os.write(self._go, b"!")
        if errno := os.read(self._failed, 16):
            self.wait()
            raise OperationError(f"{self._argv[0]}: cannot be executed: {os.strerror(int(errno))}")

    def wait(self) -> int:
        """Its exit code, when it has ended; 128 and the signal's number where a signal ended it, as shells say it."""
        if self._status is None:
            _, self._status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(self._status)
        return code if code >= 0 else 128 - code

    def end(self, number: int) -> int:
        """End it and all its descendants: by that signal, killing what does not go; returns its exit code."""
        if not self._ended(TERMINAL_SECONDS):
            self._signal(number)
            if not self._ended(GRACE_SECONDS):
                self._signal(signal.SIGKILL)
        code = self.wait()
        self._signal(signal.SIGKILL)  # what outlived it
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Whatever happened: nothing of it is left running. May be called twice."""
        for descriptor in (self._go, self._failed):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._go = self._failed = -1
        if self._status is None:
            self._signal(signal.SIGKILL)
            self.wait()

    def _ended(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = status
            elif time.monotonic() > deadline:
                return False
            else:
                time.sleep(0.01)
        return True

    def _signal(self, number: int) -> None:
        for process in set(psutil.Process().children(recursive=True)) - self._others:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
