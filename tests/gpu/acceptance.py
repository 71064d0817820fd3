"""One acceptance run: its checks in order, the time that is left, what was found so far, kept on disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from farm.files.atomic import atomic_write

ROOT: Final = Path(__file__).resolve().parents[2]
STATE: Final = "state.json"
REHEARSAL: Final = "FAKE_NVML_CONFIG"  # set where the driver is the fake one of tests/fake_nvml


class Failed(Exception):
    """A check that did not get through: words for the report, and what was found until then."""

    def __init__(self, why: str, result: Mapping[str, Any] | None = None) -> None:
        super().__init__(why)
        self.result = dict(result or {})


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that ended."""

    code: int
    out: str
    err: str
    seconds: float

    def document(self) -> Any:
        """Its JSON document. Failed, with its last words, where it printed none or did not end well."""
        try:
            return json.loads(self.out)
        except ValueError:
            last = (self.err.strip() or "nothing was said").splitlines()[-1]
            raise Failed(f"exit {self.code} after {self.seconds:.0f} s: {last}") from None


@dataclass(kw_only=True)
class Run:
    """One run of the acceptance over one device. A later run with the same folder goes on where this one stopped."""

    out: Path
    gpu: str  # catalog name
    device: int
    size: str = "full"
    ends: float = float("inf")  # on time.monotonic
    set_power_limit: bool = False
    done: dict[str, dict[str, Any]] = field(default_factory=dict)  # check -> what was found
    skipped: dict[str, str] = field(default_factory=dict)

    @property
    def left(self) -> float:
        """Seconds."""
        return self.ends - time.monotonic()

    @property
    def rehearsed(self) -> bool:
        """Whether the driver is the fake one: the numbers then say nothing of any board."""
        return REHEARSAL in os.environ

    def python(self, *arguments: str, seconds: float, closing: bool = False, **environment: str) -> Finished:
        """A Python process from the root of the checkout; ended after so many seconds, or when the run's time is up.

        ``closing``: it puts things away, so it may take its seconds whatever the time is.
        """
        started = time.monotonic()
        limit = max(1.0, min(seconds, self.left)) if not closing else seconds
        paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        child = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, err = child.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # with all that it started: nothing may keep the device
            out, err = child.communicate()
            return Finished(124, "", f"{err}\nended after {limit:.0f} s", time.monotonic() - started)
        return Finished(child.returncode, out, err, time.monotonic() - started)

    def farm(self, *arguments: str, seconds: float, closing: bool = False, **environment: str) -> Finished:
        """A farm command."""
        return self.python("-m", "farm", *arguments, seconds=seconds, closing=closing, **environment)

    def result(self, check: str) -> dict[str, Any]:
        """What a check found, a part of it where it failed on the way; empty where it has not been begun."""
        return dict(self.done.get(check, {}).get("found", {}))

    def save(self) -> None:
        with atomic_write(self.out / STATE, "--out") as file:
            file.write_text(json.dumps({"gpu": self.gpu, "size": self.size, "done": self.done}, indent=1, default=str))

    def resume(self) -> None:
        """Take over what an earlier run of this folder found, where it was of the same GPU type."""
        try:
            state = json.loads((self.out / STATE).read_text())
        except FileNotFoundError:
            return
        if (state["gpu"], state["size"]) != (self.gpu, self.size):
            raise Failed(f"{self.out} holds a run of {state['gpu']} ({state['size']}): take another --out")
        self.done = {name: entry for name, entry in state["done"].items() if entry["ok"]}


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing to find out."""

    name: str
    step: int  # of the list in tests/gpu/README.md
    title: str
    seconds: float  # that it takes, about: it is not begun with less left
    run: Callable[[Run], Mapping[str, Any]]
    needs: tuple[str, ...] = ()  # checks that must have been done


def work_off(run: Run, checks: Sequence[Check], say: Callable[[str], None]) -> None:
    """Every check that is not done yet and for which there is time, in order; what one finds is kept at once."""
    for check in checks:
        if check.name in run.done:
            say(f"{check.step} {check.name}: done before")
            continue
        if missing := [name for name in check.needs if not run.done.get(name, {}).get("ok")]:
            run.skipped[check.name] = f"needs {', '.join(missing)}"
            say(f"{check.step} {check.name}: left out, {run.skipped[check.name]}")
            continue
        if run.left < check.seconds:
            run.skipped[check.name] = f"{check.seconds:.0f} s wanted, {max(0.0, run.left):.0f} s left"
            say(f"{check.step} {check.name}: left out, {run.skipped[check.name]}")
            continue
        say(f"{check.step} {check.name}: {check.title}")
        started = time.monotonic()
        try:
            entry: dict[str, Any] = {"ok": True, "found": dict(check.run(run))}
        except Failed as error:
            entry = {"ok": False, "why": str(error), "found": error.result}
        except Exception as error:  # one broken check must not cost the others their time on the device
            entry = {"ok": False, "why": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        entry |= {"step": check.step, "title": check.title, "seconds": time.monotonic() - started}
        run.done[check.name] = entry
        run.save()
        say(f"  {'done' if entry['ok'] else 'FAILED: ' + entry['why']} ({entry['seconds']:.0f} s)")


@contextmanager
def temporary_home() -> Iterator[Path]:
    """A FARM_HOME of its own, with a short name, as sockets want one."""
    folder = Path(tempfile.mkdtemp(prefix="jf-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
