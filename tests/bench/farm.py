"""What the coordinator's side costs: submitting sweeps, and jobs that fifty workers do from a short or a long queue."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from farm.broker.app import Broker
from farm.broker.embedded import EmbeddedBroker
from farm.domain import Job, Measurement
from farm.processes import spawn, stop
from farm.settings import Settings, load
from farm.store.engine import Store
from tests.bench import FARM, Row, median, run
from tests.both_sides import Jobs
from tests.postgres import EmbeddedPostgres
from workers.runtime.message_filter.redis import job_id

PAPER = Path(__file__).resolve().parents[2] / "deploy" / "sweeps" / "paper.yaml"
MANY = 100_000
SENT = 10_000  # by the bare loop, whose time is multiplied
BACKLOGS = (1_000, 10_000, 100_000)
WORKERS = 50
DONE = 1_000  # jobs that are done of each backlog
MESSAGES = 2_000
SPEC = """\
models: [sd2]
gpus: [a100]
resolutions: [64, 128, 192, 256, 320, 384, 448, 512, 576, 640]
steps: [{steps}]
precisions: [fp16]
cfg: [false, true]
prompts: [{prompts}]
size: nano
"""
LOOP = """\
import sys
from celery import Celery
app = Celery(broker=sys.argv[1])
@app.task(name="measure")
def task(number):
    pass
for number in range(int(sys.argv[2])):
    task.apply_async((number,))
"""


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        yield from _submitting(Path(folder))
    for postgres in (False, True):
        yield from _working(postgres)


def _submitting(folder: Path) -> Iterator[Row]:
    seconds = sorted(
        run([FARM, "sweep", "submit", str(PAPER)], FARM_HOME=str(folder / str(n))).seconds for n in range(3)
    )[1]
    yield Row("submit of 2,880 configurations", seconds, "s", 3.0, "whole process, median of 3")
    spec = _spec(folder, MANY)
    with _home(folder / "many") as settings:
        broker = EmbeddedBroker(settings)
        try:
            loop = [sys.executable, "-c", LOOP, broker.start()]
            start = median([*loop, "0"], runs=3).seconds
            bare = (run([*loop, str(SENT)]).seconds - start) * MANY / SENT + start
        finally:
            broker.stop()
        ours = run([FARM, "sweep", "submit", str(spec)])
    yield Row(f"submit of {MANY:,}", ours.seconds, "s", None, "whole process, SQLite")
    yield Row(f"submit of {MANY:,}, peak memory", ours.peak_bytes / 1e6, "MB", 300.0, "same process")
    how = f"{SENT:,} sent with apply_async, scaled: {bare:.1f} s"
    yield Row(f"submit of {MANY:,} / a bare Celery loop", ours.seconds / bare, "x", 1.0, how)


@dataclass(frozen=True)
class _Found:
    cpu_ms: float  # of the coordinator, a job
    memory_mb: float  # its peak
    jobs_per_second: float
    heartbeats_per_second: float
    messages_per_second: float


def _working(postgres: bool) -> Iterator[Row]:
    name = "PostgreSQL" if postgres else "SQLite"
    found = {count: _work_off(count, postgres) for count in BACKLOGS}
    for count, one in found.items():
        how = f"{WORKERS} workers do {DONE:,} of {count:,} jobs, {one.jobs_per_second:.0f} jobs/s"
        yield Row(f"{name}: coordinator's CPU a job of {count:,}", one.cpu_ms, "ms", None, how)
        yield Row(f"{name}: coordinator's memory, {count:,} jobs", one.memory_mb, "MB", None, "its peak, same run")
    few, many = found[BACKLOGS[0]], found[BACKLOGS[-1]]
    how = f"{BACKLOGS[-1]:,} jobs against {BACKLOGS[0]:,}"
    yield Row(f"{name}: growth of CPU a job", many.cpu_ms / few.cpu_ms, "x", 1.5, how)
    yield Row(f"{name}: growth of memory", many.memory_mb / few.memory_mb, "x", 1.2, how)
    yield Row(f"{name}: jobs claimed and recorded", many.jobs_per_second, "/s", None, "longest queue")
    yield Row(f"{name}: heartbeats", many.heartbeats_per_second, "/s", None, f"{WORKERS} threads")
    yield Row(f"{name}: messages", many.messages_per_second, "/s", None, "one coordinator sends")


def _work_off(backlog: int, postgres: bool) -> _Found:
    """Fifty worker sides in one process, a real coordinator, broker and database; a job itself takes no time."""
    server = EmbeddedPostgres() if postgres else None
    with tempfile.TemporaryDirectory() as folder, _home(Path(folder) / "home") as settings:
        if server is not None:
            os.environ["FARM_DATABASE_URL"] = server.start()
            settings = load()
        broker = EmbeddedBroker(settings)
        coordinator = None
        try:
            url = broker.start()
            run([FARM, "db", "upgrade"])
            run([FARM, "sweep", "submit", str(_spec(Path(folder), backlog))])
            with _jobs(settings) as jobs:
                coordinator = spawn([FARM, "coordinator"], log=Path(folder) / "coordinator.log")
                crew = _Crew(jobs, url)
                crew.work(WORKERS)  # until it runs, and everybody has warmed up
                before, start = _cpu_seconds(coordinator.pid), time.perf_counter()
                crew.work(DONE - WORKERS)
                seconds, spent = time.perf_counter() - start, _cpu_seconds(coordinator.pid) - before
                return _Found(
                    cpu_ms=1e3 * spent / (DONE - WORKERS),
                    memory_mb=_peak_megabytes(coordinator.pid),
                    jobs_per_second=(DONE - WORKERS) / seconds,
                    heartbeats_per_second=_rate(lambda n: jobs.heartbeat(n, 1), DONE),
                    messages_per_second=_send_rate(settings),
                )
        finally:
            if coordinator is not None:
                stop(coordinator, 5.0)
            broker.stop()
            if server is not None:
                del os.environ["FARM_DATABASE_URL"]
                server.remove()


class _Crew:
    """What workers do to broker and database, without the measuring."""

    def __init__(self, jobs: Jobs, url: str) -> None:
        self._jobs = jobs
        self._queues = redis.Redis.from_url(url)
        self._left = 0
        self._lock = threading.Lock()

    def work(self, count: int) -> None:
        """Do so many jobs, all workers together."""
        self._left = count
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(self._one, range(WORKERS)))

    def _one(self, number: int) -> None:
        worker = f"w{number}"
        while self._take():
            job = None
            while job is None:
                _, message = self._queues.brpop(["a100"])
                job = self._jobs.claim(job_id(json.loads(message)) or 0, worker=worker, queue="a100")
            assert self._jobs.record(job.id, job.attempt, worker, _measured(job), samples=b"x" * 2000)

    def _take(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0


def _measured(job: Job) -> Measurement:
    return Measurement(
        measurement_id=f"m{job.id}",
        configuration=job.configuration,
        energy_joules=1.0,
        energy_std_joules=0.1,
        idle_watts=50.0,
        duration_seconds=1.0,
        meter="simulated",
        flags=("simulated",),
        measured_at="2026-01-01T00:00:00Z",
    )


def _send_rate(settings: Settings) -> float:
    broker = Broker(settings)
    start = time.perf_counter()
    broker.send("bench", range(1, MESSAGES + 1))
    seconds = time.perf_counter() - start
    broker.close()
    return MESSAGES / seconds


def _rate(action: Callable[[int], object], count: int) -> float:
    start = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(action, range(1, count + 1)))
    return count / (time.perf_counter() - start)


@contextmanager
def _jobs(settings: Settings) -> Iterator[Jobs]:
    store = Store.open(settings)
    try:
        yield Jobs(store, settings)
    finally:
        store.close()


@contextmanager
def _home(home: Path) -> Iterator[Settings]:
    before = {k: os.environ.pop(k) for k in list(os.environ) if k.startswith("FARM_")}
    os.environ["FARM_HOME"] = str(home)
    try:
        settings = load()
        settings.prepare_home()
        settings.run.mkdir(exist_ok=True)
        yield settings
    finally:
        del os.environ["FARM_HOME"]
        os.environ.update(before)


def _spec(folder: Path, count: int) -> Path:
    """A grid of so many points: ten sizes, with and without guidance, a number of prompts, fifty steps or less."""
    steps, prompts = (50, count // 1000)
    path = folder / "spec.yaml"
    path.write_text(
        SPEC.format(steps=", ".join(map(str, range(1, steps + 1))), prompts=", ".join(map(str, range(1, prompts + 1))))
    )
    return path


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
