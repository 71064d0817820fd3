"""What a job costs with its message, beside peers that lose nothing either when a process is killed.

Everything is queued before a worker starts, and one worker of one process works it off: from the moment that a tenth is
gone until the last result is stored. In turns, so that a busy machine is busy for all. PostgreSQL syncs its log here.
"""

from __future__ import annotations

import importlib.util
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import redis

from farm.broker.app import Broker
from farm.broker.embedded import EmbeddedBroker
from farm.jobs import CoordinatorJobs
from farm.processes import spawn, stop
from farm.settings import load
from farm.store.engine import Store
from tests.bench import FARM, Row, run
from tests.bench import _queue_workers as workers
from tests.postgres import EmbeddedPostgres
from tests.quick import sweep_text

TASKS = 1000
COUNTED = 200  # with every statement in the server's log
TURNS = 3
ROUNDS = 100
JOB_SECONDS = 60.0
HEARTBEAT_SECONDS = 5.0  # as the settings are: the shorter of heartbeat and spool
STATEMENT = re.compile(rb"LOG:  (?:statement|execute [^:]*): *([^\n]*)")
BOUNDARY = re.compile(rb"(?:BEGIN|COMMIT|ROLLBACK)[^;]*;?\s*", re.IGNORECASE)
BENCH = re.compile(rb"/\* bench \*/|pg_stat_")


@dataclass
class _Server:
    """A database server, with a new database for whoever asks."""

    postgres: EmbeddedPostgres
    numbers: Iterator[int] = field(default_factory=count)

    def database(self) -> str:
        name = f"bench{next(self.numbers)}"
        self.say(f"CREATE DATABASE {name}")
        return self.postgres.url.removesuffix("/postgres") + f"/{name}"

    def say(self, words: str) -> Any:
        with psycopg.connect(self.postgres.url.replace("+psycopg", ""), autocommit=True) as connection:
            answer = connection.execute(words)
            return answer.fetchone() if answer.description else None


@dataclass(frozen=True)
class _Queued:
    """Tasks that wait for a worker of the kind ``worker``."""

    worker: str
    url: str
    total: int
    left: Callable[[], int]  # how many no worker has taken
    stored: Callable[[], int]  # how many are done for good


@dataclass(frozen=True)
class _Cost:
    """Of one task, on the database's server."""

    statements: float
    commits: float
    syncs: float  # of the server's log


def rows() -> Iterator[Row]:
    with _home() as home, _postgres() as server:
        workers.write_document(home / "document.json")
        os.environ[workers.DOCUMENT] = str(home / "document.json")
        contenders = {
            "no-op Celery task": _queue_noop,
            "job with its message, SQLite": lambda _server, many: _queue_jobs(None, many),
            "job with its message, PostgreSQL": lambda server, many: _queue_jobs(server.database(), many),
            "Celery, acknowledged late, SQL results, PostgreSQL": _queue_celery,
        }
        if importlib.util.find_spec("procrastinate") is not None:
            contenders["procrastinate, PostgreSQL"] = _queue_procrastinate
        else:
            print("procrastinate is not installed (make bench does that): left out", file=sys.stderr)
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        costs = {name: _count(server, put) for name, put in contenders.items() if "PostgreSQL" in name}
        for _ in range(TURNS):
            for name, put in contenders.items():
                _empty_broker()
                seconds[name].append(_time(put(server, TASKS), home))
        heartbeat = _heartbeat_seconds(home)
    median = {name: statistics.median(found) for name, found in seconds.items()}
    for name, found in median.items():
        how = f"median of {TURNS} turns of {TASKS} tasks, one worker process"
        if name in costs:
            cost = costs[name]
            how = f"{cost.statements:.1f} statements, {cost.commits:.1f} commits, {cost.syncs:.1f} syncs of the log"
        yield Row(name, 1e3 * found, "ms", None, how)
    noop, sqlite, postgres, *peers = median.values()
    yield Row("job on SQLite / no-op task", sqlite / noop, "x", 3.0, "the no-op stores nothing and syncs nothing")
    yield Row("job on PostgreSQL / no-op task", postgres / noop, "x", None, "")
    for name, found in zip(list(median)[3:], peers, strict=True):
        yield Row(f"job on PostgreSQL / {name.split(',')[0]}", postgres / found, "x", 1.0, "the same server, in turns")
    rounds = JOB_SECONDS / HEARTBEAT_SECONDS
    how = f"with {rounds:.0f} rounds of its heartbeat thread (lease, spool, requests), {heartbeat * 1e3:.1f} ms each"
    yield Row("overhead on a job of 60 s", 100 * (sqlite + rounds * heartbeat) / JOB_SECONDS, "%", 2.0, how)


@contextmanager
def _home() -> Iterator[Path]:
    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("FARM_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FARM_HOME"] = folder
        settings = load()
        settings.prepare_home()
        settings.run.mkdir(exist_ok=True)
        broker = EmbeddedBroker(settings)
        broker.start()
        try:
            yield Path(folder)
        finally:
            broker.stop()
            os.environ.clear()
            os.environ.update(before)


@contextmanager
def _postgres() -> Iterator[_Server]:
    postgres = EmbeddedPostgres()
    try:
        postgres.start(durable=True)
        yield _Server(postgres)
    finally:
        postgres.remove()


Put = Callable[[_Server, int], _Queued]


def _time(queued: _Queued, home: Path) -> float:
    """Seconds a task, once the worker has warmed up."""
    total = queued.total
    with _worker(queued, home):
        while (begun := queued.left()) > 0.9 * total:
            time.sleep(0.002)
        start = time.perf_counter()
        while queued.left():
            time.sleep(0.01)
        while queued.stored() < total:
            time.sleep(0.002)
        return (time.perf_counter() - start) / begun


def _count(server: _Server, put: Put) -> _Cost:
    """What a worker asks of the server, by its own log and counters. Apart, since to write such a log takes time."""
    _empty_broker()
    queued = put(server, COUNTED)
    log = server.postgres.log
    server.say("ALTER SYSTEM SET log_statement = 'all'")
    server.say("SELECT pg_reload_conf()")
    try:
        before = _counters(server)
        with _worker(queued, Path(os.environ["FARM_HOME"])):
            while queued.left() > 0.9 * COUNTED:
                time.sleep(0.01)
            begun, offset = queued.left(), log.stat().st_size
            while queued.stored() < COUNTED:
                time.sleep(0.1)
            said = STATEMENT.findall(log.read_bytes()[offset:])
        time.sleep(1.0)  # with its sessions, their counters are told
        commits, syncs = (after - b for after, b in zip(_counters(server), before, strict=True))
    finally:
        server.say("ALTER SYSTEM RESET log_statement")
        server.say("SELECT pg_reload_conf()")
    ours = [
        words for words in said if not (BOUNDARY.fullmatch(words) or b"/* bench */" in words or b"pg_stat" in words)
    ]
    return _Cost(len(ours) / begun, commits / begun, syncs / begun)


def _counters(server: _Server) -> tuple[int, int]:
    server.say("SELECT pg_stat_clear_snapshot()")
    commits = server.say("SELECT sum(xact_commit) FROM pg_stat_database WHERE datname LIKE 'bench%'")[0]
    syncs = server.say("SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'")[0]
    return int(commits), int(syncs)


@contextmanager
def _worker(queued: _Queued, home: Path) -> Iterator[None]:
    argv = [sys.executable, "-m", "tests.bench._queue_workers", queued.worker, queued.url]
    process = spawn(argv, log=home / f"{queued.worker}.log", env=os.environ)
    try:
        yield
    finally:
        stop(process, 5.0)


def _queue_noop(_server: _Server, many: int) -> _Queued:
    with closing(Broker(load())) as broker:
        broker.send(workers.QUEUE, range(1, many + 1))
    left, held = _in_broker()
    return _Queued("noop", "-", many, left, lambda: many if not left() and not held() else 0)


def _queue_jobs(url: str | None, many: int) -> _Queued:
    """Jobs of a sweep in a database of their own, all of them sent."""
    home = Path(os.environ["FARM_HOME"])
    if url is not None:
        os.environ["FARM_DATABASE_URL"] = url
    else:
        os.environ.pop("FARM_DATABASE_URL", None)
        for file in home.glob("farm.db*"):
            file.unlink()
    settings = load()
    if url is not None:
        run([FARM, "db", "upgrade"])
    spec = home / "spec.yaml"
    spec.write_text(sweep_text(range(1, many + 1)).replace("cfg: [false]", "cfg: [false, true]"))
    run([FARM, "sweep", "submit", str(spec)])
    with closing(CoordinatorJobs.open(settings)) as jobs, closing(Broker(settings)) as broker:
        ids = jobs.due(workers.QUEUE, many)
        assert len(ids) == many
        jobs.mark_sent(ids)
        broker.send(workers.QUEUE, ids)
    left, _ = _in_broker()
    store = Store.open(settings)

    def stored() -> int:
        with store.read() as db:
            done = "SELECT count(*) FROM measurement /* bench */"
            return int(db.exec_driver_sql(done).scalar_one())

    return _Queued("farm", "-", many, left, stored)


def _queue_celery(server: _Server, many: int) -> _Queued:
    url = server.database()
    app = workers.celery_app(url)
    with app.connection_for_write() as connection:
        producer = connection.Producer(auto_declare=False)
        for number in range(1, many + 1):
            app.send_task("bench.measure", args=[number], queue=workers.QUEUE, producer=producer, retry=False)
    left, held = _in_broker()
    return _Queued("celery", url, many, left, lambda: many if not left() and not held() else 0)


def _queue_procrastinate(server: _Server, many: int) -> _Queued:
    url = server.database()
    connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
    connection.execute("CREATE TABLE bench_result (number bigint PRIMARY KEY, document jsonb, samples bytea)")
    app = workers.procrastinate_app(url)
    with app.open():
        app.schema_manager.apply_schema()
        app.tasks["bench.measure"].batch_defer(*({"number": number} for number in range(1, many + 1)))

    def number_of(what: str) -> int:
        found = connection.execute(f"SELECT count(*) FROM procrastinate_jobs WHERE status = '{what}' /* bench */")
        return int(found.fetchone()[0])

    return _Queued("procrastinate", url, many, lambda: number_of("todo"), lambda: number_of("succeeded"))


def _empty_broker() -> None:
    """Forget what a worker that was stopped has put back."""
    with redis.Redis.from_url(EmbeddedBroker(load()).url or "") as client:
        client.delete(workers.QUEUE, "unacked", "unacked_index")


def _in_broker() -> tuple[Callable[[], int], Callable[[], int]]:
    """How many messages wait in the broker, and how many a worker holds that it has not acknowledged."""
    client = redis.Redis.from_url(EmbeddedBroker(load()).url or "")
    return lambda: int(client.llen(workers.QUEUE)), lambda: int(client.hlen("unacked"))


def _heartbeat_seconds(home: Path) -> float:
    """Seconds of one round of a worker's heartbeat thread, on SQLite."""
    from workers.device.identity import WorkerIdentity
    from workers.runtime.worker_process import WorkerProcess

    os.environ.pop("FARM_DATABASE_URL", None)
    settings = load()
    process = WorkerProcess(WorkerIdentity.plain("a100", 0, home, simulate=True), settings)
    process.open()
    start = time.perf_counter()
    with process.heartbeat.keeping(workers.JOB):  # it is done, but its lease is asked for all the same
        for _ in range(ROUNDS):
            process.heartbeat.beat()
    seconds = (time.perf_counter() - start) / ROUNDS
    process.close()
    return seconds
