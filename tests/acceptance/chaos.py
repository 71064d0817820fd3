"""A farm under random faults from a seed, and the oracle that says whether anything was lost, doubled or misplaced."""

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
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import redis
from sqlalchemy import text

from farm.domain import OperationError
from farm.embedded import EmbeddedBroker, EmbeddedPostgres
from farm.processes import ProcessIdentity, spawn, stop
from farm.settings import load
from farm.store import Store

GPUS = ("a100", "a4000", "a6000")
SPEED = 10.0  # simulated seconds a second: a job takes about a third of a second
SETTINGS = {
    "FARM_LEASE_SECONDS": "3",
    "FARM_HEARTBEAT_SECONDS": "0.5",
    "FARM_TICK_SECONDS": "0.3",
    "FARM_DOORBELL_GRACE_SECONDS": "2",
    "FARM_SPOOL_DRAIN_SECONDS": "0.5",
    "FARM_RETRY_SECONDS": "0.2",
    "FARM_MAX_ATTEMPTS": "30",
    "FARM_REFIT_SECONDS": "3600",
    "FARM_IDLE_SECONDS": "1",
}
SPEC = """\
models: [sd2, flux]
gpus: [{gpus}]
resolutions: [64]
steps: [{steps}]
precisions: [fp16]
cfg: [false]
prompts: [1]
size: nano
"""


@dataclass(frozen=True)
class Plan:
    seed: int
    jobs: int  # a multiple of six: three queues, two models
    faults: int
    outage_seconds: float  # how long broker or database are away
    deadline_seconds: float
    postgres: bool = False


@dataclass
class Outcome:
    """What the oracle looks at, and what it found wrong."""

    seconds: float
    injected: Counter[str]
    attempts: Counter[str]  # by how they ended
    complaints: list[str] = field(default_factory=list)


class Chaos:
    """One farm, made by `farm up`, whose supervisor is the only one that repairs anything."""

    def __init__(self, home: Path, plan: Plan, setenv: Callable[[str, str], None]) -> None:
        self.home = home
        self.plan = plan
        self.random = random.Random(plan.seed)
        self.injected: Counter[str] = Counter()
        self.postgres = EmbeddedPostgres() if plan.postgres else None
        for name, value in {**SETTINGS, "FARM_HOME": str(home)}.items():
            setenv(name, value)
        if self.postgres is not None:
            setenv("FARM_DATABASE_URL", self.postgres.start())
        self.settings = load()
        self.broker = EmbeddedBroker(self.settings)
        self.up = 0
        self.actions: dict[str, Callable[[], None]] = {
            "worker killed": self.kill_worker,
            "child killed": self.kill_child,
            "worker frozen, then killed": self.freeze_and_kill_worker,
            "child frozen past its lease": self.freeze_child,
            "broker killed": self.kill_broker,
            "broker flushed": self.flush_broker,
            "broker hangs": self.hang_broker,
            "coordinator killed": self.kill_coordinator,
            "second coordinator, killed": self.second_coordinator,
            "database away": self.take_database_away,
            "disk full": self.fill_disk,
        }

    def run(self) -> Outcome:
        started = time.monotonic()
        try:
            self.farm("up", "--simulate", ",".join(GPUS), "--speed", str(SPEED), "--detach")
            self.up = int(json.loads((self.home / "run" / "up.json").read_text())["pid"])
            spec = self.home / "spec.yaml"
            steps = ", ".join(str(n) for n in range(1, self.plan.jobs // 6 + 1))
            spec.write_text(SPEC.format(gpus=", ".join(GPUS), steps=steps))
            self.farm("sweep", "submit", str(spec))
            self.inject(started + self.plan.deadline_seconds / 2)
            deadline = started + self.plan.deadline_seconds
            while self.open_jobs() and time.monotonic() < deadline:
                time.sleep(0.2)
            outcome = self.judge(time.monotonic() - started)
            self.farm("down")
            left = wait_gone(self.home, 10.0)
            if left:
                outcome.complaints.append(f"10 s after the end these still run: {left}")
            return outcome
        finally:
            for pid in processes_of(self.home):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self.postgres is not None:
                self.postgres.remove()

    def inject(self, until: float) -> None:
        """All faults, each at least once as far as there are enough, in an order from the seed."""
        names = list(self.actions)
        self.random.shuffle(names)
        order = names + [self.random.choice(names) for _ in range(self.plan.faults)]
        for name in order[: self.plan.faults]:
            if time.monotonic() > until:
                break
            self.actions[name]()
            self.injected[name] += 1
            time.sleep(self.random.uniform(0.1, 0.6))

    # --- faults

    def kill_worker(self) -> None:
        self.signal(self.pick("worker"), signal.SIGKILL)

    def kill_child(self) -> None:
        self.signal(self.pick_child(), signal.SIGKILL)

    def freeze_and_kill_worker(self) -> None:
        pid = self.pick("worker")
        self.signal(pid, signal.SIGSTOP)
        time.sleep(1.2)
        self.signal(pid, signal.SIGKILL)

    def freeze_child(self) -> None:
        pid = self.pick_child()
        self.signal(pid, signal.SIGSTOP)
        time.sleep(self.settings.lease_seconds + 1)
        self.signal(pid, signal.SIGCONT)

    def kill_broker(self) -> None:
        self.broker.kill()

    def flush_broker(self) -> None:
        url = self.broker.url
        with suppress(redis.RedisError), redis.Redis.from_url(url, socket_timeout=1) as client:
            client.flushall()

    def hang_broker(self) -> None:
        pid = self.pick("-server")  # valkey or redis
        self.signal(pid, signal.SIGSTOP)
        time.sleep(self.plan.outage_seconds)
        self.signal(pid, signal.SIGCONT)

    def kill_coordinator(self) -> None:
        self.signal(self.pick("coordinator"), signal.SIGKILL)

    def second_coordinator(self) -> None:
        other = spawn([sys.executable, "-m", "farm", "coordinator"], log=self.home / "second.log")
        time.sleep(2.0)
        other.kill()
        stop(other, 0)

    def take_database_away(self) -> None:
        if self.postgres is not None:
            self.postgres.kill()
            time.sleep(self.plan.outage_seconds)
            self.postgres.start()
        else:
            store = Store.open(self.settings)
            with store.write():  # nobody else writes to SQLite meanwhile
                time.sleep(self.plan.outage_seconds)
            store.close()

    def fill_disk(self) -> None:
        pid = self.pick_child()
        if pid is None:
            return
        with suppress(ProcessLookupError):
            before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
            time.sleep(1.0)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)

    # --- the oracle

    def judge(self, seconds: float) -> Outcome:
        store = Store.open(self.settings)
        with store.read() as db:

            def rows(sql: str) -> list:
                return list(db.execute(text(sql)).all())

            attempts = rows('SELECT job_id, worker, started_at, ended_at, "end" FROM attempt ORDER BY started_at')
            measured = rows(
                "SELECT m.job_id, m.worker, c.gpu FROM measurement m JOIN configuration c ON c.id = m.configuration_id"
            )
            jobs = rows("SELECT id, state, reason FROM job")
        store.close()
        outcome = Outcome(seconds, self.injected, Counter(str(a.end) for a in attempts))
        complain = outcome.complaints.append
        if len(jobs) != self.plan.jobs:
            complain(f"{len(jobs)} jobs, {self.plan.jobs} were submitted")
        lost = {j.id for j in jobs} - {m.job_id for m in measured}
        if lost:
            complain(f"no measurement: {[tuple(j) for j in jobs if j.id in lost]}")
        if len(measured) != len({m.job_id for m in measured}):
            complain("a job has two accepted measurements")
        accepted = Counter(a.job_id for a in attempts if a.end == "accepted")
        if any(n > 1 for n in accepted.values()):
            complain(f"accepted twice: {[j for j, n in accepted.items() if n > 1]}")
        wrong = [tuple(m) for m in measured if not m.worker.startswith(f"sim-{m.gpu}-0@")]
        if wrong:
            complain(f"on the wrong queue: {wrong}")
        for worker in {a.worker for a in attempts}:
            mine = [a for a in attempts if a.worker == worker]
            for before, after in pairwise(mine):
                if before.ended_at is None or before.ended_at > after.started_at:
                    complain(f"two jobs at once on {worker}: {tuple(before)} and {tuple(after)}")
        redone = len(attempts) - len(measured)
        if redone > sum(self.injected.values()):
            complain(f"{redone} attempts more than jobs, after {sum(self.injected.values())} faults")
        return outcome

    # --- what is there

    def open_jobs(self) -> int:
        try:
            store = Store.open(self.settings)
            with store.read() as db:
                left = db.execute(text("SELECT count(*) FROM job WHERE state IN ('queued', 'running')")).scalar_one()
            store.close()
        except OperationError:
            return 1
        return int(left)

    def farm(self, *argv: str) -> None:
        done = subprocess.run([sys.executable, "-m", "farm", *argv], capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stderr

    def pick(self, word: str) -> int | None:
        """One of the supervisor's living children whose command line holds that word."""
        found = [p for p in children_of(self.up) if word in command_of(p)]
        return self.random.choice(found) if found else None

    def pick_child(self) -> int | None:
        parent = self.pick("worker")
        found = children_of(parent) if parent is not None else []
        return found[0] if found else None

    @staticmethod
    def signal(pid: int | None, number: int) -> None:
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def children_of(pid: int) -> list[int]:
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [p for p in map(int, found.split()) if ProcessIdentity.of(p).alive()]


def processes_of(home: Path) -> list[int]:
    """Every living process, but this one, whose environment names that home."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with suppress(OSError):
                named = f"FARM_HOME={home}\0".encode() in (entry / "environ").read_bytes() + b"\0"
                if named and ProcessIdentity.of(int(entry.name)).alive():
                    found.append(int(entry.name))
    return found


def wait_gone(home: Path, seconds: float) -> list[int]:
    deadline = time.monotonic() + seconds
    while (left := processes_of(home)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left
