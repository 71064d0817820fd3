"""Child processes that cannot outlive their parent, and how a later command recognises one again."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from farm.domain.errors import OperationError

_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process, told apart from a later one with the same number by the time it started."""

    pid: int
    started: str  # kernel ticks since boot, as text; empty where the system does not say

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """The process that has this number now."""
        return cls(pid, _start_time(pid))

    def alive(self) -> bool:
        """Whether that very process still runs (a zombie does not)."""
        if self.pid <= 0:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # it exists and belongs to somebody else
        started = _start_time(self.pid)
        return started == self.started and started != _ZOMBIE

    def signal(self, number: int) -> None:
        """Send a signal, if that very process still runs."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; False when it still runs after so long."""
        deadline = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


def spawn(
    argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None, tied: bool = True
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, its output appended to ``log``. OperationError where it cannot be.

    ``tied``: the kernel kills it when the thread that called this ends, however it ends (Linux), so that not even
    ``kill -9`` of the parent leaves orphans.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as sink:
            return subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=dict(env) if env is not None else None,
                start_new_session=True,
                preexec_fn=tie_to_parent() if tied else None,  # our callers have one thread
            )
    except (OSError, subprocess.SubprocessError) as error:  # the disk is full, or there are too many processes
        raise OperationError(f"{argv[0]} (log {log}): cannot be started: {error}") from None


def stop(process: subprocess.Popen[bytes], grace_seconds: float) -> int:
    """Terminate, wait, and kill the whole group of what has not ended by then; returns the exit status."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_seconds)
    kill_group(process.pid)
    return process.wait()


def kill_group(pid: int) -> None:
    """Kill every process of the session that ``spawn`` opened."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def tie_to_parent() -> Callable[[], None] | None:
    """What a child calls between fork and exec to die with its parent; None where the system cannot do that."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)  # before the fork: nothing may be loaded after it
    parent = os.getpid()

    def tie() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return tie


def machine() -> str:
    """Which machine this is since it was started: unlike its name, and its machine-id, no copy of an image has it too.

    Empty where the system does not say.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


_ZOMBIE: Final = "zombie"


def _start_time(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # the name in front may hold anything
    return _ZOMBIE if fields[0] == "Z" else fields[19]
