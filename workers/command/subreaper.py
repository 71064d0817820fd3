"""The subreaper: a small process between `farm meter` and its command, so that nothing outlives a meter that is killed.

It is the parent of the command and, as a subreaper, of whatever the command leaves behind. It holds one end of a pipe,
the lifeline, whose other end only the meter has: when that ends, however it ends, the subreaper kills whatever is left.
It is in a session of its own and deaf to what asks a process to end: Ctrl-C, or a scheduler that signals everybody.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

import psutil

from farm.processes import tie_to_parent

DEAF_TO: Final = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2),
    *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU),
)
KILL_SECONDS: Final = 5.0  # what cannot be killed by then hangs in the kernel
_PR_SET_CHILD_SUBREAPER: Final = 36


def adopt_orphans() -> None:
    """Make this process, rather than init, the parent of what its descendants leave behind."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def keep(execute: Callable[[], NoReturn], *, lifeline: int, status: int) -> NoReturn:
    """Fork once more, ``execute`` there, and write its wait status as text to ``status`` when it has ended.

    Then go on keeping what it left, until one byte comes through the lifeline (all is well: leave them) or its end
    does (kill them). The calling process must have no threads; it never returns.
    """
    adopt_orphans()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in DEAF_TO}
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})  # whoever started us may have blocked it
    tie = tie_to_parent()
    command = os.fork()
    if command == 0:
        signal.set_wakeup_fd(-1)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if handler is signal.SIG_IGN else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if tie:
            tie()
        execute()
    os.setsid()
    _close_all_but(lifeline, status, woken, wake)
    while True:
        readable, _, _ = select.select([lifeline, woken], [], [])
        if woken in readable:
            os.read(woken, 4096)
            _reap(command, status)
        if lifeline in readable:
            if not os.read(lifeline, 1):
                _kill_all()
            os._exit(0)


def _reap(command: int, status: int) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, wait_status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid == command:
                with contextlib.suppress(BrokenPipeError):  # nobody asks any longer
                    os.write(status, str(wait_status).encode())


def _kill_all() -> None:
    """Kill all descendants, also those that they start meanwhile."""
    deadline = time.monotonic() + KILL_SECONDS
    with contextlib.suppress(ChildProcessError):  # none is left
        while time.monotonic() < deadline:
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    process.kill()
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
            time.sleep(0.005)


def _close_all_but(*kept: int) -> None:
    """Close the command's input and output here, so that whoever waits for their end does not wait for this process."""
    for descriptor in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if descriptor not in kept:
            with contextlib.suppress(OSError):  # the listing's own
                os.close(descriptor)
