"""What a job costs beyond its measurement, beside a no-op Celery task through the same broker and settings."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis

from farm.broker.app import Broker, make_app, register_measure
from farm.broker.embedded import EmbeddedBroker
from farm.processes import spawn, stop
from farm.settings import load
from tests.bench import Row
from tests.quick import sweep_text

TASKS = 600
ROUNDS = 100
JOB_SECONDS = 60.0
HEARTBEAT_SECONDS = 5.0  # as the settings are: the shorter of heartbeat and spool


def rows() -> Iterator[Row]:
    before = {k: v for k, v in os.environ.items() if k.startswith("FARM_")}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FARM_HOME"] = folder
        try:
            noop, (job, heartbeat) = _noop_seconds(Path(folder)), _job_seconds(Path(folder))
        finally:
            del os.environ["FARM_HOME"]
            os.environ.update(before)
    yield Row("no-op Celery task", noop * 1e3, "ms", None, f"{TASKS} tasks, prefork, one child, late ack")
    yield Row(
        "job: claim, prompts, spool, record", job * 1e3, "ms", None, "in process, SQLite, a device that takes no time"
    )
    yield Row("job with its message / no-op task", (noop + job) / noop, "x", 3.0, "side by side")
    rounds = JOB_SECONDS / HEARTBEAT_SECONDS
    how = f"with {rounds:.0f} rounds of its heartbeat thread (lease, spool, requests), {heartbeat * 1e3:.1f} ms each"
    yield Row("overhead on a job of 60 s", 100 * (noop + job + rounds * heartbeat) / JOB_SECONDS, "%", 2.0, how)


def noop_worker() -> None:
    """A worker whose task does nothing; the program of the subprocess below."""
    settings = load()
    app = make_app(EmbeddedBroker(settings).url or "", settings)
    register_measure(app, lambda _: None)
    worker = app.Worker(
        pool_cls="prefork", concurrency=1, queues=["noop"], without_gossip=True, without_mingle=True,
        without_heartbeat=True, quiet=True,
    )  # fmt: skip
    worker.start()


def _noop_seconds(home: Path) -> float:
    settings = load()
    settings.prepare_home()
    settings.run.mkdir(exist_ok=True)
    broker = EmbeddedBroker(settings)
    url = broker.start()
    sender = Broker(settings)
    sender.send("noop", range(1, TASKS + 1))
    code = "import tests.bench.queue as q; q.noop_worker()"
    worker = spawn([sys.executable, "-c", code], log=home / "noop.log")
    with redis.Redis.from_url(url) as client:

        def left() -> int:
            return int(client.llen("noop"))

        while left() > TASKS * 0.9:
            time.sleep(0.005)
        first, count = time.perf_counter(), left()
        while left() or client.hlen("unacked"):
            time.sleep(0.005)
        seconds = (time.perf_counter() - first) / count
    stop(worker, 5.0)
    sender.close()
    broker.stop()
    return seconds


def _job_seconds(home: Path) -> tuple[float, float]:
    """Seconds that a job costs beyond its measurement, and those of one round of its heartbeat thread."""
    from farm.cli import run
    from farm.jobs import CoordinatorJobs
    from workers.device.identity import WorkerIdentity
    from workers.runtime.device_session import DeviceSession
    from workers.runtime.worker_process import WorkerProcess

    settings = load()
    spec = home / "spec.yaml"
    spec.write_text(sweep_text(range(1, TASKS // 2 + 1)))
    run(["sweep", "submit", str(spec)])
    jobs = CoordinatorJobs.open(settings)
    ids = jobs.due("a100", TASKS)
    identity = WorkerIdentity.plain("a100", 0, settings.home, simulate=True)
    device = DeviceSession(identity.place, settings)
    process = WorkerProcess(identity, settings, device=device)
    process.open()
    process.handle(ids[0])  # imports, statement caches
    spent, last = 0.0, None
    measure = device.measure

    def timed(*arguments):  # the simulated measurement itself is not what is asked for
        nonlocal spent, last
        last = arguments[0]
        start = time.perf_counter()
        found = measure(*arguments)
        spent += time.perf_counter() - start
        return found

    device.measure = timed  # type: ignore[method-assign]
    start = time.perf_counter()
    for job_id in ids[1:]:
        process.handle(job_id)
    seconds = (time.perf_counter() - start - spent) / (len(ids) - 1)
    start = time.perf_counter()
    with process.heartbeat.keeping(last):  # it is done, but its lease is asked for all the same
        for _ in range(ROUNDS):
            process.heartbeat.beat()
    heartbeat = (time.perf_counter() - start) / ROUNDS
    process.close()
    jobs.close()
    return seconds, heartbeat
