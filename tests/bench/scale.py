"""A long sweep on a farm of eight simulated devices that take no time, beside version 0.1.0 in turns with it.

That version comes from this repository's history; where the checkout does not have it, it is left out, which is said.
There are JOBS jobs, or as many as the variable BENCH_JOBS says.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine, text

from farm.processes import spawn, stop
from tests.bench import Row
from tests.postgres import EmbeddedPostgres
from tests.processes import children_of

ROOT = Path(__file__).resolve().parents[2]
OLD = "80b3e75"  # the last commit of 0.1.0
JOBS = 4_000
DEVICES = "a100,a100,a100,a100,a6000,a6000,a6000,a6000"
SPEC = """\
models: [sd2, sd35, sdxl, pixart-sigma]
gpus: [a100, a6000]
resolutions: [256, 384, 512, 768, 1024]
steps: [{steps}]
precisions: [fp16]
cfg: [false, true]
prompts: [{prompts}]
"""
FULL = 4 * 2 * 5 * 2 * 50  # jobs of that for each number of prompts
WARM = 0.05  # of the jobs, until everybody is at work


@dataclass(frozen=True)
class _Done:
    """One sweep that was worked off."""

    jobs_per_second: float
    coordinator_seconds: float  # of CPU, with the processes it started
    refit_seconds: float  # of CPU, of these


def rows() -> Iterator[Row]:
    jobs = int(os.environ.get("BENCH_JOBS", JOBS))
    with _version_0_1_0() as old:
        for postgres in (False, True):
            name = "PostgreSQL" if postgres else "SQLite"
            before = None if old is None else _work_off(old, jobs, postgres)
            after = _work_off(ROOT, jobs, postgres)
            how = f"{jobs:,} jobs, 8 workers, from {WARM:.0%} of them on"
            if before is not None:
                yield Row(f"{name}: jobs of 0.1.0", before.jobs_per_second, "/s", None, how)
                yield from _refit(f"{name}, 0.1.0", before, None)
            yield Row(f"{name}: jobs", after.jobs_per_second, "/s", None, how)
            yield from _refit(name, after, 10.0)
            if before is not None:
                ratio = after.jobs_per_second / before.jobs_per_second
                yield Row(f"{name}: jobs / those of 0.1.0", ratio, "x", 2.0, "one after the other", at_least=True)


def _refit(name: str, done: _Done, target: float | None) -> Iterator[Row]:
    how = f"{done.refit_seconds:.1f} of {done.coordinator_seconds:.1f} s"
    share = 100 * done.refit_seconds / done.coordinator_seconds
    yield Row(f"{name}: refits, of the coordinator's CPU", share, "%", target, how)


@contextmanager
def _version_0_1_0() -> Iterator[Path | None]:
    """A folder with the code of 0.1.0; None, which is said, where this checkout does not have it."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", OLD, "farm", "workers", "analysis"], capture_output=True, check=False
        )
        if archive.returncode:
            reason = archive.stderr.decode(errors="replace").strip()
            print(f"0.1.0 is left out: this checkout does not have its commit {OLD} ({reason})", file=sys.stderr)
            yield None
            return
        subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


def _work_off(code: Path, jobs: int, postgres: bool) -> _Done:
    server = EmbeddedPostgres() if postgres else None
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FARM_")}
        environment |= {"FARM_HOME": folder, "PYTHONPATH": str(code), "PYTHONSAFEPATH": "1"}
        url = f"sqlite:///{home / 'farm.db'}"
        try:
            if server is not None:
                url = environment["FARM_DATABASE_URL"] = server.start()
                _farm(environment, "db", "upgrade")
            spec = home / "spec.yaml"
            spec.write_text(_spec(jobs))
            _farm(environment, "sweep", "submit", str(spec))
            return _watch(environment, url, jobs)
        finally:
            if server is not None:
                server.remove()


def _watch(environment: dict[str, str], url: str, jobs: int) -> _Done:
    argv = [sys.executable, "-m", "farm", "up", "--simulate", DEVICES]
    log = Path(environment["FARM_HOME"]) / "up.log"
    farm = spawn(argv, log=log, env=environment)
    engine = create_engine(url)
    try:

        def done() -> int:
            with engine.connect() as connection:
                return int(connection.execute(text("SELECT count(*) FROM job WHERE state = 'done'")).scalar_one())

        def await_done(count: int) -> float:
            while (now := done()) < count:
                if farm.poll() is not None:
                    raise RuntimeError(f"farm up ended: {log.read_text()[-500:]}")
                time.sleep(0.2 if count - now < 500 else 1.0)
            return time.perf_counter()

        start = await_done(int(WARM * jobs))
        begun = done()
        seconds = await_done(jobs) - start
        own, started = _cpu_of_coordinator(farm.pid)
        return _Done((jobs - begun) / seconds, own + started, started)
    finally:
        engine.dispose()
        stop(farm, 20.0)


def _cpu_of_coordinator(farm: int) -> tuple[float, float]:
    """Its own seconds of CPU, and those of the refits it has started."""
    coordinators = [pid for pid in children_of(farm) if b"coordinator" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    (pid,) = coordinators
    running = sum(sum(_ticks(child)[:2]) for child in children_of(pid))
    user, system, of_children, system_of_children = _ticks(pid)
    each = os.sysconf("SC_CLK_TCK")
    return (user + system) / each, (of_children + system_of_children + running) / each


def _ticks(pid: int) -> list[int]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(field) for field in fields[11:15]]


def _farm(environment: dict[str, str], *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "farm", *arguments], env=environment, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip


def _spec(jobs: int) -> str:
    steps, prompts = min(50, 50 * jobs // FULL), max(1, jobs // FULL)
    listed = [", ".join(map(str, range(1, last + 1))) for last in (steps, prompts)]
    return SPEC.format(steps=listed[0], prompts=listed[1])
