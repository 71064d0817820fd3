"""A weekend on simulated GPUs: sweeps of two priorities, devices that drift, fail and are serviced, an operator.

Everything is done by the commands that a person has; what is asserted is what a person would look at on Monday.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, make_url, text

from farm.processes import spawn, stop
from tests.integration.farm_fixture import kill
from tests.postgres import EmbeddedPostgres
from tests.processes import children_of, wait_gone, wait_until
from tests.quick import QUICK, sweep_text
from tests.receivers import Mailbox, Webhook

GPUS = ("a100", "a4000", "a6000")
GOLDEN = "model=sd2 resolution=256 steps=20 precision=fp16 prompts=10"  # large beside the noise of idle power
BAD_ROWS = """\
model,gpu,resolution,steps,precision,cfg,prompts,energy_joules,dataset,measurement_id
sd2,a100,512,10,fp16,0,1,1e9,bad,bad-1
"""


@dataclass(frozen=True)
class Plan:
    jobs: int  # of the long sweep, on each GPU type
    urgent: int  # of the other
    patience_seconds: float  # for each thing that is waited for
    absence: bool = False  # the coordinator is away for a while, too
    postgres: bool = False


class Weekend:
    """One farm, made by `farm up`."""

    def __init__(
        self,
        home: Path,
        plan: Plan,
        farm: Callable[..., Any],
        farm_process: Callable[..., Any],
        setenv: Callable[[str, str], None],
    ) -> None:
        """``farm`` runs a command in this process, ``farm_process`` in one of its own."""
        self.home = home
        self.plan = plan
        self._farm = farm
        self._farm_process = farm_process
        self.setenv = setenv
        self.webhook, self.mailbox = Webhook(), Mailbox()
        self.postgres = EmbeddedPostgres() if plan.postgres else None
        environment = {
            **QUICK,
            "FARM_MAX_ATTEMPTS": "2",
            "FARM_HEALTH_INTERVAL_SECONDS": "100000",  # only what changed is checked, after the baselines
            "FARM_HEALTH_CONFIGURATION": GOLDEN,
            "FARM_HEALTH_TOLERANCE_PERCENT": "8",
            "FARM_EVENTS_URLS": f"{self.webhook.url} {self.mailbox.url}",
            "FARM_EVENTS_GATHER_SECONDS": "0.5",
            "FARM_COORDINATOR_GONE_SECONDS": "3",
        }
        for name, value in environment.items():
            setenv(name, value)

    def run(self) -> None:
        with ExitStack() as stack:
            stack.enter_context(closing(self.webhook))
            stack.enter_context(closing(self.mailbox))
            if self.postgres is not None:
                stack.callback(self.postgres.remove)
                self.setenv("FARM_DATABASE_URL", self.postgres.start())
                self.farm("db", "upgrade")
            started = self._farm_process("up", "--simulate", ",".join(GPUS), "--detach")
            assert started.code == 0, started.err
            stack.callback(self._farm, "down")
            long = self.submit("long", range(1, self.plan.jobs + 1))
            urgent = self.submit("urgent", range(501, 501 + self.plan.urgent), "--priority", "1")
            self.farm("sweep", "pause", long)  # before it is done
            self.wait("the baselines", lambda: all(self.good_checks(gpu) >= 3 for gpu in GPUS))
            self.operate(urgent)
            self.service("a4000")
            self.drift("a100")
            self.fail("a6000")
            if self.plan.absence:
                self.lose_coordinator()
            self.farm("sweep", "resume", long)
            self.farm("sweep", "retry")  # what the ill device failed
            self.wait("all sweeps", lambda: all(self.is_done(sweep) for sweep in self.sweeps()))
            self.judge(long, urgent)
        left = wait_gone(self.home)
        assert not left, left

    # --- what the operator does

    def submit(self, name: str, steps: range, *more: str) -> str:
        spec = self.home.parent / f"{name}.yaml"
        spec.write_text(f"name: {name}\n{sweep_text(steps, gpus=GPUS)}")
        return str(self.json("sweep", "submit", spec, *more)["sweep"])

    def operate(self, urgent: str) -> None:
        """Change a priority, remove a bad data set, back up and restore, all while the farm runs."""
        self.farm("sweep", "priority", urgent, "7")
        rows = self.home.parent / "bad.csv"
        rows.write_text(BAD_ROWS)
        self.farm("results", "import", rows)
        self.farm("results", "remove", "--dataset", "bad", "--reason", "a comma instead of a point")
        backup = self.home.parent / "weekend.db"
        self.farm("db", "backup", backup)
        other = self.other_database()
        restored = self.json("db", "restore", backup, "--db", other)["rows"]
        assert restored["job"] >= len(GPUS) * (self.plan.jobs + self.plan.urgent)
        assert restored["health_check"] >= 9
        listed = self.json("sweep", "list", "--db", other)["sweeps"]
        found = {row["name"]: (row["state"], row["priority"]) for row in listed}
        jobs = next(row["jobs"] for row in listed if row["name"] == "urgent")  # as they were when it was backed up
        state = "open" if jobs["queued"] or jobs["running"] else "done"
        assert found == {"long": ("paused", 0), "urgent": (state, 7)}, (found, jobs)

    def other_database(self) -> str:
        """The URL of an empty one of the same kind."""
        if self.postgres is None:
            return f"sqlite:///{self.home.parent / 'restored.db'}"
        engine = create_engine(self.postgres.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("CREATE DATABASE restored"))
        engine.dispose()
        return make_url(self.postgres.url).set(database="restored").render_as_string(hide_password=False)

    def service(self, gpu: str) -> None:
        """A device under maintenance and back."""
        name = self.worker(gpu)
        self.farm("workers", "maintenance", name, "--reason", "a new fan")
        extra = self.submit("meanwhile", range(701, 703))
        why = f"every device of the queue {gpu} is off: {name} (maintenance: a new fan)"
        self.wait("why its jobs wait", lambda: why in [row["why"] for row in self.status(extra)["waiting"]])
        self.farm("workers", "maintenance", name, "--end")
        self.wait("the serviced device", lambda: self.is_done(extra))

    def drift(self, gpu: str) -> None:
        """A driver that draws more is noticed and mended."""
        self.change(gpu, 'driver = "2"\nenergy_factor = 1.3\n')
        off = self.wait("the drifting device to go off", lambda: self.off(gpu))
        assert off.startswith("drifted by +"), off
        assert "driver 2" in off
        suspect = [row for row in self.rows() if "device_suspect" in row["flags"]]
        assert suspect
        assert {row["gpu"] for row in suspect} == {gpu}
        self.faults(gpu, 'driver = "2"\n')
        self.farm("workers", "maintenance", self.worker(gpu), "--end")
        self.wait("a good check", lambda: self.checks(gpu)[-1]["verdict"] == "good")

    def fail(self, gpu: str) -> None:
        """A device that cannot do its health job is taken off; after its repair a new baseline is made."""
        self.change(gpu, 'driver = "2"\nfails = "the fan is stuck"\n')
        off = self.wait("the failing device to go off", lambda: self.off(gpu))
        assert off.startswith("two health checks in a row failed"), off
        assert "the fan is stuck" in off
        self.faults(gpu, 'driver = "2"\n')
        self.farm("workers", "maintenance", self.worker(gpu), "--end", "--new-baseline")
        self.wait("the new baseline", lambda: [c["verdict"] for c in self.checks(gpu)][-3:] == ["good"] * 3)

    def change(self, gpu: str, told: str) -> None:
        """A driver change: the worker is drained and started again."""
        name = self.worker(gpu)
        self.farm("workers", "drain", name)
        self.wait("the drain", lambda: name not in self.workers())
        self.faults(gpu, told)
        self.wait("the restart", lambda: self.json("workers", "restart", name, codes=(0, 2)))
        self.wait("the worker", lambda: name in self.workers())

    def faults(self, gpu: str, told: str) -> None:
        """Other devices are well again by now."""
        text = "".join(f'[{other}-0]\ndriver = "2"\n' for other in GPUS if other < gpu and other != "a4000")
        (self.home / "simulated.toml").write_text(f"{text}[{gpu}-0]\n{told}")

    def lose_coordinator(self) -> None:
        """Nobody brings it back for a while; `farm serve` tells of it."""
        self.farm("sweep", "resume")
        self.submit("alone", range(801, 901))
        up = int(json.loads((self.home / "run" / "up.json").read_text())["pid"])
        log = self.home.parent / "serve.log"
        server = spawn([sys.executable, "-m", "farm", "serve", "--port", "0"], log=log)
        try:
            os.kill(up, signal.SIGSTOP)
            for pid in children_of(up):
                if b"coordinator" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    kill(pid)
            self.wait("word of its absence", lambda: "coordinator_gone" in self.webhook.text)
        finally:
            os.kill(up, signal.SIGCONT)
            stop(server, 5.0)

    # --- what is seen on Monday

    def judge(self, *sweeps: str) -> None:
        for sweep, jobs in zip(sweeps, (self.plan.jobs, self.plan.urgent), strict=True):
            status = self.status(sweep)
            assert status["jobs"] == dict.fromkeys(status["jobs"], 0) | {"done": jobs * len(GPUS)}
        rows = self.rows()
        assert len({row["measurement_id"] for row in rows}) == len(rows)  # no row lost, none twice, no check among them
        assert len(rows) == sum(self.status(sweep)["jobs"]["done"] for sweep in self.sweeps())
        told = self.wait("the events", self.all_sent)
        kinds = {row["kind"] for row in told}
        assert kinds >= {"sweep_done", "device_off"} | ({"coordinator_gone"} if self.plan.absence else set())
        reasons = {row["document"]["kind"] for row in told if row["kind"] == "device_off"}
        assert reasons == {"maintenance", "health"}
        done = {row["document"]["name"] for row in told if row["kind"] == "sweep_done"}
        assert done >= {"long", "urgent"}
        for received in (self.webhook.text, self.mailbox.text):
            assert {row["id"] for row in told} <= set(re.findall(r"event (\w{32}) ", received))
        history = [act["action"] for act in self.json("sweep", "show", sweeps[0])["actions"]]
        assert [act for act in history if act in ("pause", "resume")][:2] == ["pause", "resume"]

    def all_sent(self) -> list[dict[str, Any]]:
        told = self.json("events", "list", "--limit", "1000")["events"]
        return told if all(row["sent_at"] for row in told) else []

    def sweeps(self) -> list[str]:
        return [str(row["id"]) for row in self.json("sweep", "list")["sweeps"]]

    def rows(self) -> list[dict[str, Any]]:
        file = self.home.parent / "rows.csv"
        self.farm("results", "export", file)
        import csv

        with file.open(newline="") as text:
            return list(csv.DictReader(text))

    def status(self, sweep: str) -> dict[str, Any]:
        return dict(self.json("sweep", "status", sweep, codes=(0, 1)))

    def is_done(self, sweep: str) -> bool:
        jobs = self.status(sweep)["jobs"]
        return sum(jobs.values()) == jobs["done"]

    def workers(self) -> list[str]:
        return [row["name"] for row in self.json("workers", "list")["workers"]]

    def worker(self, gpu: str) -> str:
        devices = self.json("workers", "health")["devices"]
        return str(next(device["worker"] for device in devices if device["gpu"] == gpu))

    def checks(self, gpu: str) -> list[dict[str, Any]]:
        devices = self.json("workers", "health")["devices"]
        return next((device["checks"] for device in devices if device["gpu"] == gpu), [])

    def good_checks(self, gpu: str) -> int:
        return sum(check["verdict"] == "good" for check in self.checks(gpu))

    def off(self, gpu: str) -> str:
        return next((d["reason"] for d in self.json("workers", "list")["devices_off"] if d["gpu"] == gpu), "")

    def wait(self, what: str, look: Callable[[], Any]) -> Any:
        return wait_until(look, self.plan.patience_seconds, what)

    def farm(self, *argv: object) -> None:
        done = self._farm(*map(str, argv))
        assert done.code in (0, 1 if argv[0] == "sweep" else 0), (argv, done.err)

    def json(self, *argv: object, codes: tuple[int, ...] = (0,)) -> Any:
        done = self._farm(*map(str, argv), "--json")
        assert done.code in codes, (argv, done.code, done.err)
        return json.loads(done.out) if done.out else None
