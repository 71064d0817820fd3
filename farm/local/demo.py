"""The main job on this machine, from nothing: a farm of its own, a sweep of small real pipelines, a fitted law.

Every step is the one that a real farm takes, through the same doors; only the home is a fresh folder, the models are of
nano size and the energy is CodeCarbon's estimate for the processor, flagged so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from farm import settings
from farm.database import Store, opened
from farm.domain.errors import FarmError, OperationError
from farm.local import farm as local_farm
from farm.results import Results
from farm.sweeps import control, submit
from farm.sweeps.read import read_spec

SPEC: Final = Path(__file__).resolve().parents[1] / "sweeps" / "data" / "demo.yaml"
START_SECONDS: Final = 120.0
STUCK_SECONDS: Final = 120.0  # no job ended for so long: something is wrong
NEEDS: Final = ("torch", "diffusers", "transformers", "codecarbon", "sklearn")

Say = Callable[[str], None]
Status = dict[str, Any]
Follow = Callable[[Callable[[], Status]], Status]  # shows a sweep until nothing is open; the last status


@dataclass(frozen=True)
class Demonstration:
    """What the demonstration measured, fitted and wrote."""

    rows: list[dict[str, Any]]  # configuration, seconds, joules, flags
    fit: dict[str, Any]  # as `farm law fit --json`
    scatter_percent: float  # standard deviation of ln E about the law
    seconds: float
    home: Path
    database: Path
    report: Path


def run(say: Say, follow: Follow) -> Demonstration:
    """Do it all. OperationError, naming the step, when one fails; nothing is left running then either."""
    started = time.monotonic()
    with _step("look for what it needs"):
        missing = [name for name in NEEDS if find_spec(name) is None]
        if missing:
            raise OperationError(f"not installed: {', '.join(missing)} (pip install 'joulefarm[analysis,worker]')")
    with _step("make a home"), _own_home() as chosen:
        say(f"a home of its own: {chosen.home}")
        with _step("start broker, coordinator and worker"):
            say(local_farm.detach(chosen, ["--cpu"], timeout_seconds=START_SECONDS))
        try:
            with opened(settings=chosen) as store:
                with _step("submit the sweep"):
                    submitted = submit.submit(store, read_spec(SPEC))
                    say(f"submitted: {submitted.jobs} jobs of {submitted.configurations} configurations")
                with _step("measure"):
                    _all_done(follow(_watchful(store, submitted.sweep)), chosen)
                    rows = [row.to_dict() for row in Results(store).rows()]
        finally:
            with _step("stop the farm"):
                local_farm.end(chosen, 30.0)
        after = import_module("analysis.cli.demo")
        with _step("fit the law"):
            fit, scatter = after.refit(chosen)
        with _step("write the report"):
            report = after.report(chosen.home / "report.md")
    return Demonstration(
        rows=rows,
        fit=fit,
        scatter_percent=scatter,
        seconds=time.monotonic() - started,
        home=chosen.home,
        database=chosen.home / "farm.db",
        report=report,
    )


@contextmanager
def _step(what: str) -> Iterator[None]:
    """Name the step that fails; the innermost name wins."""
    try:
        yield
    except _StepError:
        raise
    except FarmError as error:
        raise _StepError(f"could not {what}: {error}") from error


class _StepError(OperationError):
    pass


@contextmanager
def _own_home() -> Iterator[settings.Settings]:
    """A fresh home below the user's, with its own broker and database, for this process and those it starts."""
    home = settings.load().prepare_home() / "demo" / datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    with own_settings({"FARM_HOME": str(home), "FARM_CPU_THREADS": "1"}) as ours:  # nano models: threads only wait
        ours.prepare_home()
        yield ours


@contextmanager
def own_settings(values: dict[str, str]) -> Iterator[settings.Settings]:
    """These settings and no others of the environment, for this process and those it starts, until the block ends."""
    theirs = {name: value for name, value in os.environ.items() if name.startswith("FARM_")}
    try:
        _replace_settings(values)
        yield settings.load()
    finally:
        _replace_settings(theirs)


def _replace_settings(values: dict[str, str]) -> None:
    for name in [name for name in os.environ if name.startswith("FARM_")]:
        del os.environ[name]
    os.environ.update(values)


def _watchful(store: Store, sweep: int | None) -> Callable[[], Status]:
    """The sweep's status; OperationError when no job ended for too long."""
    last = (-1, time.monotonic())

    def look() -> Status:
        nonlocal last
        status = control.status(store, sweep)
        ended = sum(count for state, count in status["jobs"].items() if state not in ("queued", "running"))
        if ended != last[0]:
            last = (ended, time.monotonic())
        elif time.monotonic() - last[1] > STUCK_SECONDS:
            raise OperationError(f"no job ended in {STUCK_SECONDS:g} s, {ended} had before")
        return status

    return look


def _all_done(status: Status, chosen: settings.Settings) -> None:
    failed = sum(count for state, count in status["jobs"].items() if state != "done")
    if failed:
        raise OperationError(f"{failed} jobs have no measurement (logs in {chosen.run / 'logs'})")
