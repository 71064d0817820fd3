"""A command under measurement: made ready before its window opens, ended with all that it started."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, NoReturn, Self

import psutil

from farm.domain import OperationError, RequestError
from workers.command.subreaper import adopt_orphans, keep

TERMINAL_SECONDS: Final = 0.2  # a terminal's Ctrl-C has reached the command already; one sent to us alone has not
GRACE_SECONDS: Final = 3.0  # between asking and killing
LOOK_SECONDS: Final = 0.05  # between two looks whether somebody became impatient
READY: Final = b"."  # the command's process was told to start
_BINARY_FORMATS: Final = Path("/proc/sys/fs/binfmt_misc")  # what else the kernel executes here


def check(argv: Sequence[str]) -> None:
    """Raise RequestError where there is no such command, before anything is measured for its sake."""
    path = shutil.which(argv[0])
    if path is None:
        exists = os.path.exists(argv[0]) and os.sep in argv[0]  # noqa: PTH110
        raise RequestError("CMD", argv[0], "a file that can be executed" if exists else "a command that is on PATH")
    try:
        with Path(path).open("rb") as file:
            head = file.read(256)
    except OSError:  # it may be executed without being readable
        return
    if head.startswith(b"#!"):
        words = head[2:].partition(b"\n")[0].split()
        interpreter = os.fsdecode(words[0]) if words else ""
        if not os.access(interpreter, os.X_OK):
            raise RequestError(
                "CMD", argv[0], f"a script whose interpreter is there: {interpreter!r} cannot be executed"
            )
    elif not head.startswith(b"\x7fELF") and not _other_formats():
        raise RequestError("CMD", argv[0], "a program, or a script that begins with #! and its interpreter")


def _other_formats() -> bool:
    try:
        return len(list(_BINARY_FORMATS.iterdir())) > 2  # besides `register` and `status`
    except OSError:
        return False


def _in_foreground() -> bool:
    """Whether this process, and with it the command, is what the terminal's keys go to."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


class Command:
    """Forks a command at once, as `perf stat` does, and executes it from ``start`` on: no fork is in the window.

    Make it before the process has threads or has touched the device. It shares the terminal and, should this process
    be killed, dies with all that it started: its parent is a subreaper (workers.command.subreaper).
    """

    def __init__(self, argv: Sequence[str], *, stdout: int = 1) -> None:
        self._unrelated = set(psutil.Process().children(recursive=True))
        self._argv = list(argv)
        adopt_orphans()  # should the subreaper be killed
        go, self._go = os.pipe()
        self._answer, answer = os.pipe()  # READY, then closed by a successful exec, or the number of an error
        self._ended, ended = os.pipe()
        lifeline, self._lifeline = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self._subreaper = os.fork()
        if self._subreaper == 0:
            try:
                for descriptor in (self._go, self._answer, self._ended, self._lifeline):
                    os.close(descriptor)
                keep(lambda: self._execute(go, answer, stdout), lifeline=lifeline, status=ended)
            finally:
                os._exit(127)
        for descriptor in (go, answer, ended, lifeline):
            os.close(descriptor)
        self._unrelated.add(psutil.Process(self._subreaper))
        self._status: int | None = None
        self._closed = False

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Let the command execute, with these variables besides its own; returns once it does.

        OperationError where the system refuses, or somebody killed it as it waited.
        """
        with contextlib.suppress(BrokenPipeError):  # nobody is there to read it, and so to answer
            os.write(self._go, json.dumps(dict(environment or {})).encode())
        answer = b"".join(iter(lambda: os.read(self._answer, 16), b""))
        if not answer:
            raise OperationError(f"{self._argv[0]}: its process was killed before it was started")
        if errno := answer.removeprefix(READY):
            self.wait()
            raise OperationError(f"{self._argv[0]}: cannot be executed: {os.strerror(int(errno))}")

    def until_ended(self) -> None:
        """Wait for the command's end. May be left by an exception at any time: ``wait`` still knows its exit code."""
        select.select([self._ended], [], [])

    def wait(self) -> int:
        """Wait for the command's end; returns its exit code, or 128 and the number of the signal that ended it."""
        if self._status is None:
            status = os.read(self._ended, 16)
            if not status:  # the subreaper was killed, and with it the command: the rest has come to us
                self._signal(signal.SIGKILL)
            self._status = int(status or signal.SIGKILL)
        code = os.waitstatus_to_exitcode(self._status)
        return code if code >= 0 else 128 - code

    def end(self, number: int, *, impatient: Callable[[], bool] = lambda: False) -> int:
        """End it and all its descendants: by that signal, killing what does not go, at once when told to hurry.

        Returns its exit code.
        """
        # A terminal's Ctrl-C has reached it already; a second one would end its cleaning up.
        has_it = number == signal.SIGINT and _in_foreground()
        if not self._ends_within(GRACE_SECONDS if has_it else TERMINAL_SECONDS, impatient):
            self._signal(number)
            if not self._ends_within(GRACE_SECONDS, impatient):
                self._signal(signal.SIGKILL)
        code = self.wait()
        self._signal(signal.SIGKILL)  # what came meanwhile
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the command with all that it started, unless it has ended by itself: what it left behind then stays.

        May be called twice.
        """
        if self._closed:
            return
        self._closed = True
        if self._status is not None:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._lifeline, b"!")
        for descriptor in (self._lifeline, self._go, self._answer, self._ended):
            os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._subreaper, 0)

    def _execute(self, go: int, answer: int, stdout: int) -> NoReturn:
        """In the command's process: wait for the start."""
        try:
            if variables := os.read(go, select.PIPE_BUF):  # one write of less is one read
                os.write(answer, READY)
                os.environ.update(json.loads(variables))
                os.dup2(stdout, 1)
                for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec would pass that on
                    signal.signal(number, signal.SIG_DFL)
                os.execvp(self._argv[0], self._argv)  # noqa: S606  (the user's own command, no shell)
        except OSError as error:
            os.write(answer, str(error.errno).encode())
        finally:
            os._exit(127)

    def _ends_within(self, seconds: float, impatient: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + seconds
        while (remaining := deadline - time.monotonic()) > 0 and not impatient():
            if select.select([self._ended], [], [], min(remaining, LOOK_SECONDS))[0]:
                if not self._family():
                    return True
                time.sleep(min(remaining, LOOK_SECONDS))  # what it started may clean up as well
        return False

    def _signal(self, number: int) -> None:
        for process in self._family():
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)

    def _family(self) -> set[psutil.Process]:
        """The command and all that it started, as far as it lives."""
        return set(psutil.Process().children(recursive=True)) - self._unrelated
