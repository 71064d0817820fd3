"""A farm under random faults from a seed: who is hurt, when, and how. ``chaos_oracle`` says what came of it."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import text

from farm.broker.embedded import EmbeddedBroker
from farm.domain import OperationError
from farm.processes import ProcessIdentity, spawn, stop
from farm.settings import load
from farm.store.engine import Store
from tests.acceptance.chaos_oracle import Hit, judge
from tests.postgres import EmbeddedPostgres
from tests.processes import children_of, processes_of, wait_gone
from tests.quick import QUICK, sweep_text

DEVICES = ("a100", "a100", "a4000", "a6000")  # three queues, one of them with two workers
GPUS = tuple(dict.fromkeys(DEVICES))
VICTIM_SECONDS = 45.0  # a fault waits so long for a worker with a job: workers that died young start later each time
DOWN_SECONDS = 10.0  # after which nothing of the farm may be left
SETTINGS = {**QUICK, "FARM_MAX_ATTEMPTS": "30"}


@dataclass(frozen=True)
class Plan:
    seed: int
    jobs: int  # a multiple of six: three queues, two models
    faults: int
    outage_seconds: float  # how long broker or database are away
    deadline_seconds: float
    speed: float  # simulated seconds a second: so slow that work is left for the last fault
    postgres: bool = False

    @property
    def database(self) -> str:
        return "PostgreSQL" if self.postgres else "SQLite"


@dataclass
class Outcome:
    plan: Plan
    seconds: float = 0.0
    injected: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)  # by how they ended
    hits: int = 0  # faults that may have cost a job its attempt
    redone: int = 0  # attempts beyond one a job
    recovery_seconds: float = 0.0  # the longest time from such a fault to the next attempt of its job
    complaints: list[str] = field(default_factory=list)


class Chaos:
    """One farm, made by `farm up`, whose supervisor is the only one that repairs anything."""

    def __init__(self, home: Path, plan: Plan, setenv: Callable[[str, str], None]) -> None:
        self.home = home
        self.plan = plan
        self.random = random.Random(plan.seed)
        self.outcome = Outcome(plan)
        self.hits: list[Hit] = []
        self.postgres = EmbeddedPostgres() if plan.postgres else None
        for name, value in {**SETTINGS, "FARM_HOME": str(home)}.items():
            setenv(name, value)
        if self.postgres is not None:
            setenv("FARM_DATABASE_URL", self.postgres.start())
        self.settings = load()
        self.broker = EmbeddedBroker(self.settings)
        self.store: Store | None = None
        self.up = 0
        self.second: subprocess.Popen[bytes] | None = None
        self.quick: dict[str, Callable[[], None]] = {
            "worker killed": self.kill_worker,
            "child killed": self.kill_child,
            "worker frozen, then killed": self.freeze_and_kill_worker,
            "child frozen past its lease": self.freeze_child,
            "message taken and lost": self.lose_message,
            "broker killed": self.kill_broker,
            "broker flushed": self.flush_broker,
            "coordinator killed": self.kill_coordinator,
            "second coordinator, killed later": self.second_coordinator,
            "disk full": self.fill_disk,
        }
        self.outages: dict[str, Callable[[], None]] = {
            "broker gone": self.take_broker_away,
            "broker hangs": self.hang_broker,
            "database gone": self.take_database_away,
        }

    def run(self) -> Outcome:
        started = time.monotonic()
        watch = None
        try:
            self.farm("db", "upgrade")
            self.farm("up", "--simulate", ",".join(DEVICES), "--speed", str(self.plan.speed), "--detach")
            self.up = self.process_of_up()
            spec = self.home / "spec.yaml"
            steps = range(1, self.plan.jobs // 6 + 1)
            spec.write_text(sweep_text(steps, models=["sd2", "flux"], gpus=GPUS))
            self.farm("sweep", "submit", str(spec))
            self.store = Store.open(self.settings, create=False)
            watch = spawn([sys.executable, "-m", "farm", "sweep", "watch"], log=self.home / "watch.log")
            self.inject()
            self.farm_ends(watch, started + self.plan.deadline_seconds)
            self.outcome.seconds = time.monotonic() - started
            judge(self.home, self.store, self.settings, self.outcome, self.hits)
            self.end_second()
            self.farm("down")
            left = wait_gone(self.home, DOWN_SECONDS)
            if left:
                self.complain(f"{DOWN_SECONDS:g} s after the end these still run: {left}")
            return self.outcome
        finally:
            if watch is not None:
                stop(watch, 0)
            if self.store is not None:
                self.store.close()
            for pid in processes_of(self.home):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self.postgres is not None:
                self.postgres.remove()

    def farm_ends(self, watch: subprocess.Popen[bytes], deadline: float) -> None:
        """`farm sweep watch`, begun before the first fault, returns when all is done; nobody helps."""
        try:
            status = watch.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.complain(f"not ended after {self.plan.deadline_seconds:g} s")
            return
        if status:
            self.complain(f"farm sweep watch ended with {status}: {(self.home / 'watch.log').read_text()[-300:]}")

    def inject(self) -> None:
        """Faults in an order from the seed, spread over the jobs' progress so that each finds a farm at work.

        Every kind comes, an outage twice at most: they are what takes time.
        """
        names = [*self.quick, *self.outages]
        more = [*self.quick] * self.plan.faults
        second = list(self.outages) if self.plan.faults > 2 * len(names) else []
        order = [*names, *second, *more]
        order = order[: self.plan.faults]
        self.random.shuffle(order)
        actions = {**self.quick, **self.outages}
        for number, name in enumerate(order):
            self.wait_for_progress(number * self.plan.jobs // (len(order) + 1))
            actions[name]()
            self.outcome.injected[name] += 1

    def wait_for_progress(self, done: int) -> None:
        deadline = time.monotonic() + VICTIM_SECONDS
        while self.ask("SELECT count(*) FROM measurement")[0][0] < done and time.monotonic() < deadline:
            time.sleep(0.05)

    # --- faults that may cost a job its attempt

    def kill_worker(self) -> None:
        with self.busy_worker() as pid:
            os.kill(pid, signal.SIGKILL)

    def kill_child(self) -> None:
        with self.busy_worker() as pid:
            self.signal(children_of(pid), signal.SIGKILL)

    def freeze_and_kill_worker(self) -> None:
        """Its child works on and ends the job; its parent is not there to hear of it, and then dies."""
        with self.busy_worker() as pid:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self.random.uniform(0.3, 1.5))
            os.kill(pid, signal.SIGKILL)

    def freeze_child(self) -> None:
        with self.busy_worker() as pid:
            children = children_of(pid)
            self.signal(children, signal.SIGSTOP)
            time.sleep(self.settings.lease_seconds + 1)
            self.signal(children, signal.SIGCONT)

    # --- faults that must cost none

    def lose_message(self) -> None:
        """As a worker leaves it that is killed between the broker's two commands: the message is noted nowhere."""
        with self.client() as client:
            client.rpop(self.random.choice(GPUS))

    def kill_broker(self) -> None:
        self.broker.kill()

    def flush_broker(self) -> None:
        with self.client() as client:
            client.flushall()

    def take_broker_away(self) -> None:
        """Its supervisor is held meanwhile, or it would be back in a moment."""
        os.kill(self.up, signal.SIGSTOP)
        try:
            self.broker.kill()
            time.sleep(self.plan.outage_seconds)
        finally:
            os.kill(self.up, signal.SIGCONT)

    def hang_broker(self) -> None:
        self.await_broker()
        identity = self.broker.identity
        assert identity is not None
        identity.signal(signal.SIGSTOP)
        time.sleep(self.plan.outage_seconds)
        identity.signal(signal.SIGCONT)

    def kill_coordinator(self) -> None:
        pids = self.wait_for(lambda: [p for p in children_of(self.up) if "farm coordinator" in command_of(p)])
        self.signal(pids, signal.SIGKILL)

    def second_coordinator(self) -> None:
        """It runs beside the first until the next of its kind comes."""
        self.end_second()
        self.second = spawn([sys.executable, "-m", "farm", "coordinator"], log=self.home / "second.log")

    def end_second(self) -> None:
        if self.second is not None:
            stop(self.second, 0)  # kill -9

    def take_database_away(self) -> None:
        if self.postgres is not None:
            self.postgres.kill()
            time.sleep(self.plan.outage_seconds)
            self.postgres.start()
        else:
            assert self.store is not None
            with self.store.write():  # nobody else writes to SQLite meanwhile
                time.sleep(self.plan.outage_seconds)

    def fill_disk(self) -> None:
        """No file that a worker writes can grow: the spool, and its SQLite."""
        with self.busy_worker(harmed=False) as pid:
            for child in children_of(pid):
                with suppress(ProcessLookupError):
                    before = resource.prlimit(child, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
                    time.sleep(1.0)
                    resource.prlimit(child, resource.RLIMIT_FSIZE, before)

    # --- what is there

    @contextmanager
    def busy_worker(self, *, harmed: bool = True) -> Iterator[int]:
        """The process of a worker that has a job right now; what is done to it is noted for the oracle."""

        def look() -> list[tuple[str, int]]:
            rows = self.ask(
                "SELECT w.name, w.pid FROM worker w JOIN job j ON j.worker = w.name WHERE j.state = 'running'"
            )
            here = set(children_of(self.up))
            return sorted((r.name, r.pid) for r in rows if r.pid in here and children_of(r.pid))

        name, pid = self.random.choice(self.wait_for(look))
        began = time.time()
        yield pid
        if harmed:
            self.hits.append(Hit(name, began, time.time()))
            self.outcome.hits += 1

    def wait_for(self, look: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + VICTIM_SECONDS
        while not (found := look()):
            assert time.monotonic() < deadline, f"no victim after {dict(self.outcome.injected)}"
            time.sleep(0.02)
        return found

    def ask(self, sql: str) -> list[Any]:
        """Rows, nothing but true ones: waits for a database that recovers."""
        assert self.store is not None
        deadline = time.monotonic() + VICTIM_SECONDS
        while True:
            try:
                with self.store.read() as db:
                    return list(db.execute(text(sql)).all())
            except OperationError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def await_broker(self) -> None:
        self.wait_for(lambda: self.broker.running)

    @contextmanager
    def client(self) -> Iterator[Any]:
        """The broker as its owner sees it; waits for one that starts."""

        def connect() -> Any:
            client = redis.Redis.from_url(self.broker.url or "", socket_timeout=5)
            try:
                client.ping()
            except (redis.ConnectionError, redis.TimeoutError):
                client.close()
                return None
            return client

        with self.wait_for(connect) as client:
            yield client

    def process_of_up(self) -> int:
        return int(json.loads((self.home / "run" / "up.json").read_text())["pid"])

    def farm(self, *argv: str) -> None:
        done = subprocess.run([sys.executable, "-m", "farm", *argv], capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stderr

    def complain(self, what: str) -> None:
        self.outcome.complaints.append(what)

    @staticmethod
    def signal(pids: list[int], number: int) -> None:
        for pid in pids:
            ProcessIdentity.of(pid).signal(number)


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
