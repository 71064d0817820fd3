"""A lab of four hosts, followed from docs/lab.md, whose cables are pulled and whose database moves house."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from itertools import count

import pytest

from tests.lab.network import Host
from tests.lab.walk import DATABASE, FIRST, HERE, HUB, OTHERWISE, SECOND, Lab, sections
from tests.processes import wait_until
from tests.quick import sweep_text

UNITS = {FIRST: "farm-worker@a100-0", SECOND: "farm-worker@a6000-0"}
GPUS = {FIRST: "a100", SECOND: "a6000"}
pytestmark = pytest.mark.slow
STEPS = count(1)  # every job of this file is another configuration
# Exchanges of a worker with the servers for one job: two to claim it, three to record what it gave, one for the next
# message; heartbeats beside it, and what is sent again.
MOST_TURNS_A_JOB = 10.0


@pytest.fixture(autouse=True)
def cables(lab: Lab) -> Iterator[None]:
    yield
    for name in lab.network.hosts:
        lab.network.cable(name)


def submit(lab: Lab, host: str, jobs: int) -> int:
    """Queue so many jobs for the devices of a host; the sweep."""
    steps = [next(STEPS) for _ in range(jobs)]
    write(lab, "SPEC.yaml", sweep_text(steps, gpus=[GPUS[host]]))
    return int(json.loads(lab.farm("sweep", "submit", f"{HERE}/SPEC.yaml", "--json").stdout)["sweep"])


def write(lab: Lab, name: str, text: str) -> None:
    (lab.hub.folder / HERE.lstrip("/") / name).write_text(text)
    lab.hub.run("chmod", "-R", "go=rX", "/root", HERE)


def status(lab: Lab, sweep: int) -> dict[str, int]:
    return dict(json.loads(lab.farm("sweep", "status", str(sweep), "--json").stdout)["jobs"])


def accepted(lab: Lab, host: str) -> int:
    """Jobs that the worker of a host has done, by its log."""
    return lab.network.hosts[host].log(UNITS[host]).count(", accepted, ")


def wait_accepted(lab: Lab, host: str, more_than: int, seconds: float) -> float:
    start = time.monotonic()
    wait_until(lambda: accepted(lab, host) > more_than, seconds, f"more than {more_than} jobs of {host}")
    return time.monotonic() - start


def ready(lab: Lab) -> None:
    """Wait until nothing is queued, the first health checks neither."""
    for host, unit in UNITS.items():
        wait_until(lambda host=host: accepted(lab, host) >= 3, 60, f"three health checks of {unit}")


def test_the_walk_brings_up_a_lab_that_measures(lab):
    ready(lab)
    write(lab, "SPEC.yaml", sweep_text([next(STEPS)], gpus=GPUS.values()))
    lines = "".join(lab.docs["A weekend"]["sh"]).replace("SPEC.yaml", f"{HERE}/SPEC.yaml").splitlines()
    said = {line: lab.farm(*line.split()[1:]) for line in lines}
    assert len(said) >= 7
    assert "gpu1" in said["farm workers list"].stdout
    assert all(status(lab, 1)[state] == count for state, count in {"done": 2, "failed": 0}.items())
    assert {"2 new" in done.stdout for line, done in said.items() if "submit" in line} == {True}
    page = "http://127.0.0.1:8600"
    health = json.loads(lab.hub.run("curl", "-s", f"{page}/healthz").stdout)
    assert health["ok"], health
    token = (lab.hub.folder / "etc/joulefarm/page-token").read_text().strip()
    pause = ["curl", "-s", "-X", "POST", "-H", f"Authorization: Bearer {token}", f"{page}/api/sweeps/1/pause"]
    assert "lets this page only read" in lab.hub.run(*pause).stdout  # the role that the page has here


def test_every_line_of_the_walk_was_followed(lab):
    written = [line for blocks in sections().values() for block in blocks.get("sh", ()) for line in block.splitlines()]
    weekend = "".join(lab.docs["A weekend"]["sh"]).splitlines()
    assert set(written) - set(weekend) == set(lab.done)
    assert set(OTHERWISE) <= set(written)


def test_each_comes_as_its_own_user_and_only_over_tls(lab):
    sessions = lab.network.hosts[DATABASE].run(
        "runuser", "-u", "postgres", "--", "psql", "-AtF", " ", "-c",
        "SELECT DISTINCT a.usename, s.ssl, a.client_addr FROM pg_stat_activity a JOIN pg_stat_ssl s USING (pid) "
        "WHERE a.datname = 'farm'",
    ).stdout.splitlines()  # fmt: skip
    assert {"farm t 10.99.0.1", "farm_reader t 10.99.0.1", "farm_worker t 10.99.0.11", "farm_worker t 10.99.0.12"} == {
        *sessions
    }
    owner = (lab.hub.folder / HERE.lstrip("/") / "broker/urls/owner").read_text().strip()
    clients = lab.hub.run("redis-cli", "--cacert", "/etc/joulefarm/ca.pem", "-u", owner, "CLIENT", "LIST").stdout
    users = set(re.findall(r"addr=10\.99\.0\.(\d+):.* user=(\S+)", clients))
    assert users >= {("1", "coordinator"), ("11", "worker-a100"), ("12", "worker-a6000")}
    assert "default" not in {user for _, user in users}
    assert b"rediss" not in processes(lab.hub)


def tracebacks(lab: Lab) -> list[str]:
    """What was said in more than a line, by whoever runs for long."""
    units = {HUB: ["farm-coordinator", "farm-page"]} | {host: [unit] for host, unit in UNITS.items()}
    logs = {unit: lab.network.hosts[host].log(unit) for host, names in units.items() for unit in names}
    return [unit for unit, log in logs.items() if "Traceback" in log or "Warning:" in log]


def processes(host: Host) -> bytes:
    return host.run("ps", "axww").stdout.encode()


@pytest.mark.parametrize("seconds", [3.0, pytest.param(30.0, marks=pytest.mark.chaos)])
def test_a_host_that_was_cut_off_is_back_soon_and_the_other_goes_on(lab, seconds):
    ready(lab)
    start = accepted(lab, FIRST)
    sweeps = {host: submit(lab, host, 60) for host in (SECOND, FIRST)}
    wait_accepted(lab, FIRST, start + 5, 60)
    lab.network.cable(FIRST, up=False)
    cut, other = time.monotonic(), accepted(lab, SECOND)
    before = accepted(lab, FIRST)
    wait_until(lambda: time.monotonic() > cut + seconds, seconds + 5)
    assert accepted(lab, SECOND) > other or status(lab, sweeps[SECOND])["done"] == 60
    lab.network.cable(FIRST)
    took = wait_accepted(lab, FIRST, before, 30)
    print(f"cut off for {seconds:g} s, back {took:.1f} s later")
    assert took < 10
    for sweep in sweeps.values():
        done = json.loads(lab.farm("sweep", "watch", str(sweep), "--json").stdout)["jobs"]
        assert (done["done"], done["failed"]) == (60, 0)
    assert tracebacks(lab) == []


def test_a_database_that_dies_without_a_word_comes_back_at_another_address(lab):
    ready(lab)
    start = accepted(lab, FIRST)
    sweep = submit(lab, FIRST, 80)
    wait_accepted(lab, FIRST, start + 5, 60)
    died = time.monotonic()
    lab.network.hosts[DATABASE].power_off()
    lab.restart_database("10.99.0.22")
    back, before = time.monotonic(), accepted(lab, FIRST)
    wait_accepted(lab, FIRST, before + 1, 40)  # one may have been recorded and not been told of
    took = time.monotonic() - back
    print(f"database away for {back - died:.1f} s, next result {took:.1f} s after it was back")
    assert took < 20
    assert "db.lab.example" in lab.network.hosts[FIRST].log(UNITS[FIRST]), "it is said"
    done = json.loads(lab.farm("sweep", "watch", str(sweep), "--json").stdout)["jobs"]
    assert (done["done"], done["failed"]) == (80, 0)
    assert status(lab, sweep)["done"] == 80
    assert "db.lab.example" in lab.hub.log("farm-coordinator")
    assert tracebacks(lab) == []


def test_a_job_needs_few_exchanges_and_frames_that_are_lost_cost_none(lab):
    ready(lab)
    before = lab.network.turns(SECOND), accepted(lab, SECOND)
    lost = lab.network.hosts[HUB].log("farm-coordinator").count("were lost")
    lab.network.cable(SECOND, delay=0.01, loss=0.01)
    sweep = submit(lab, SECOND, 30)
    wait_accepted(lab, SECOND, before[1] + 29, 60)
    turns = (lab.network.turns(SECOND) - before[0]) / (accepted(lab, SECOND) - before[1])
    print(f"{turns:.1f} exchanges a job")
    assert turns < MOST_TURNS_A_JOB
    wait_until(lambda: status(lab, sweep)["done"] == 30, 10)
    assert lab.network.hosts[HUB].log("farm-coordinator").count("were lost") == lost


@pytest.mark.chaos
def test_a_job_on_another_continent_costs_its_exchanges(lab):
    """With 250 ms each way; a job of no time, from one result to the next."""
    ready(lab)
    before = accepted(lab, SECOND)
    lab.network.cable(SECOND, delay=0.25)
    submit(lab, SECOND, 14)
    wait_accepted(lab, SECOND, before + 1, 60)
    begun, start = accepted(lab, SECOND), time.monotonic()
    wait_accepted(lab, SECOND, before + 11, 120)
    a_job = (time.monotonic() - start) / (accepted(lab, SECOND) - begun)
    print(f"{a_job:.2f} s a job at 250 ms each way")
    assert a_job < MOST_TURNS_A_JOB * 0.5
