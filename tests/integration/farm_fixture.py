"""A running farm for tests: real broker, real database, real processes, one place that starts and ends them."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import text

from farm.broker.embedded import EmbeddedBroker
from farm.hosts import Hosts
from farm.processes import spawn, stop
from farm.settings import Settings, load
from farm.store.engine import Store
from tests.processes import wait_gone, wait_until
from tests.quick import QUICK, sweep_text


class RunningFarm:
    """The pieces of a farm in one home, each startable and killable by itself."""

    def __init__(self, home: Path, setenv: Callable[[str, str], None], **environment: str) -> None:
        self.home = home
        for name, value in {**QUICK, **environment, "FARM_HOME": str(home)}.items():
            setenv(name, value)
        self.environment = dict(os.environ)
        self.settings: Settings = load()
        self.settings.prepare_home()
        self.settings.run.mkdir(exist_ok=True)
        self.store = Store.open(self.settings)
        self.hosts = Hosts(self.store)
        self.broker = EmbeddedBroker(self.settings)
        self.broker.start()
        self._processes: list[Any] = []
        self._workers: list[Any] = []
        self._steps = 0

    def start(self, *argv: str, log: str | None = None, **environment: str) -> Any:
        """A `farm` command in the background."""
        process = spawn(
            [sys.executable, "-m", "farm", *argv],
            log=self.log(log or "-".join(a.strip("-") for a in argv)),
            env={**self.environment, **environment},
        )
        self._processes.append(process)
        return process

    def worker(self, gpu: str, *, device: int = 0, speed: float | None = None, **environment: str) -> Any:
        """A worker on a simulated device, waited for until it has registered."""
        before = {w.pid for w in self.hosts.workers()}
        argv = ["worker", "--gpu", gpu, "--device", str(device), "--simulate"]
        argv += ["--speed", str(speed)] if speed is not None else []
        process = self.start(*argv, log=f"{gpu}-{device}", **environment)
        self._workers.append(process)
        wait_until(
            lambda: process.pid in {w.pid for w in self.hosts.workers()} - before or process.poll() is not None,
            what=f"worker {gpu}",
        )
        return process

    def log(self, name: str) -> Path:
        return self.home / "run" / "logs" / f"{name}.log"

    def submit(self, *, gpus: Iterable[str], count: int) -> list[int]:
        """So many jobs on each GPU type, of configurations that were not there before; their ids."""
        from farm.cli import run

        before = set(self.column("SELECT id FROM job"))
        spec = self.home / "spec.yaml"
        spec.write_text(sweep_text(range(self._steps + 1, self._steps + count + 1), gpus=gpus))
        self._steps += count
        assert run(["sweep", "submit", str(spec)]) == 0
        return [i for i in self.column("SELECT id FROM job ORDER BY id") if i not in before]

    def rows(self, sql: str, **values: Any) -> list[Any]:
        with self.store.read() as db:
            return list(db.execute(text(sql), values).all())

    def column(self, sql: str, **values: Any) -> list[Any]:
        return [row[0] for row in self.rows(sql, **values)]

    def measured(self, jobs: Iterable[int]) -> int:
        """How many of these jobs have their measurement."""
        return len(set(jobs) & set(self.column("SELECT job_id FROM measurement")))

    def wait_done(self, jobs: Iterable[int], seconds: float = 30.0) -> None:
        wanted = set(jobs)
        wait_until(lambda: self.measured(wanted) == len(wanted), seconds, f"the results of {sorted(wanted)}")

    def wait_running(self, jobs: Iterable[int], seconds: float = 20.0) -> int:
        """The id of one of these jobs that runs now."""
        wanted = set(jobs)
        found = wait_until(
            lambda: wanted & set(self.column("SELECT id FROM job WHERE state = 'running'")), seconds, "a running job"
        )
        return int(found.pop())

    def end_workers(self) -> None:
        """Kill the workers of a test that is over, and forget what it left open."""
        workers, self._workers = self._workers, []
        for process in workers:
            stop(process, 0.0)
        with self.store.write() as db:
            db.execute(text("UPDATE job SET state = 'cancelled' WHERE state IN ('queued', 'running')"))

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            stop(process, 5.0)
        self.broker.stop()
        self.store.close()
        left = wait_gone(self.home)
        assert not left, f"left behind: {left}"


def freeze(pid: int, database: Path) -> None:
    """Stop a process, but not inside a transaction: SQLite has one writer, which stops all others when it freezes."""
    while True:
        kill(pid, signal.SIGSTOP)
        with closing(sqlite3.connect(database, timeout=1.0, isolation_level=None)) as db:
            try:
                db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError:
                kill(pid, signal.SIGCONT)


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
