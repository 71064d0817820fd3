"""`farm up` and `farm down`: one farm a home, supervised, and nothing left of it whatever ends it."""

import json
import os
import signal
import socket
from contextlib import ExitStack, suppress

import pytest

from farm.catalog import SHIPPED
from farm.web.listen import HOST, PORT
from tests.integration.farm_fixture import kill
from tests.processes import children_of, processes_of, wait_gone, wait_until
from tests.quick import QUICK, sweep_text

SPEC = sweep_text(range(1, 6), gpus=["a100", "a4000"])


@pytest.fixture
def up(home, farm_process, monkeypatch):
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    started = farm_process("up", "--simulate", "a100,a4000", "--detach")
    assert started.code == 0, started.err
    yield json.loads((home / "run" / "up.json").read_text())["pid"]
    farm_process("down")
    left = wait_gone(home)
    assert not left, left


def status(farm_process):
    return json.loads(farm_process("sweep", "status", "--json").out)["jobs"]


def test_a_farm_from_nothing_to_nothing(up, home, farm_process, tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC)
    refused = farm_process("up", "--simulate", "a100")
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert "a farm runs there already" in refused.err
    assert farm_process("sweep", "submit", spec).code == 0
    wait_until(lambda: status(farm_process)["done"] == 10, what="the sweep")

    # Everything is killed once; all of it comes back, the broker where it was.
    port = json.loads((home / "run" / "broker.json").read_text())["port"]
    before = children_of(up)
    assert len(before) == 4
    for pid in before:
        kill(pid)
    wait_until(lambda: len(children_of(up)) == 4 and not set(children_of(up)) & set(before), what="the restart")
    assert json.loads((home / "run" / "broker.json").read_text())["port"] == port
    spec.write_text(SPEC.replace("[64]", "[128]"))
    assert farm_process("sweep", "submit", spec).code == 0
    wait_until(lambda: status(farm_process)["done"] == 20, 30, what="the second sweep")

    assert farm_process("down").code == 0
    assert processes_of(home) == []
    again = farm_process("down")
    assert (again.code, again.err.count("\n")) == (0, 1)


def test_a_second_type_of_processor_is_served(home, farm_process, monkeypatch):
    for name, value in QUICK.items():
        monkeypatch.setenv(name, value)
    (home / "catalog" / "gpus").mkdir(parents=True)
    text = (SHIPPED / "gpus" / "cpu.toml").read_text().replace('queue = "cpu"', 'queue = "epyc"')
    (home / "catalog" / "gpus" / "cpu-epyc.toml").write_text(text)
    started = farm_process("up", "--cpu", "cpu-epyc", "--detach")
    assert started.code == 0, started.err

    def workers():
        return json.loads(farm_process("workers", "list", "--json").out)["workers"]

    try:
        wait_until(lambda: len(workers()) == 1, 30, what="the worker")
        assert [(worker["gpu"], worker["queue"]) for worker in workers()] == [("cpu-epyc", "epyc")]
    finally:
        farm_process("down")
    assert wait_gone(home) == []


def test_not_even_kill_minus_nine_leaves_orphans(up, home):
    wait_until(lambda: len(processes_of(home)) >= 6, what="the workers' children")
    os.kill(up, signal.SIGKILL)
    assert wait_gone(home) == []


@pytest.mark.parametrize("detach", [[], ["--detach"]])
def test_a_port_for_the_page_that_is_taken_is_said_before_anything_starts(home, farm_process, detach):
    with ExitStack() as stack:
        with suppress(OSError):  # somebody else has it: so much the better
            stack.enter_context(socket.create_server((HOST, PORT)))
        refused = farm_process("up", "--simulate", "a100", "--web", *detach, timeout=30)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1)
    assert str(PORT) in refused.err
    assert wait_gone(home) == []


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "says"),
    [
        (["--simulate", "a100,z900"], {}, 2, "z900"),
        (["--simulate", ""], {}, 2, "known:"),
        (["--speed", "10"], {}, 2, "--simulate"),
        (["--simulate", "a100", "--speed", "-1"], {}, 2, "--speed"),
        (["--simulate", "a100", "--broker", "nonsense"], {}, 2, "FARM_BROKER_URL"),
        (["--simulate", "a100", "--broker", "redis://:secret@127.0.0.1:{closed}/0"], {}, 1, "does not answer"),
        (["--simulate", "a100", "--db", "nonsense://x"], {}, 2, "database URL"),
        (["--simulate", "a100"], {"FARM_HOME": "/proc/no"}, 2, "FARM_HOME"),
        (["--simulate", "a100", "--detach", "--broker", "redis://:secret@127.0.0.1:{closed}/0"], {}, 1, "not answer"),
    ],
)
def test_what_cannot_run_is_said_in_one_line(home, farm_process, arguments, environment, code, says):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
    outcome = farm_process("up", *(a.format(closed=closed) for a in arguments), timeout=20, **environment)
    assert outcome.code == code
    assert outcome.err.count("\n") == 1
    assert says in outcome.err
    assert "secret" not in outcome.err
    assert outcome.out == ""
    assert wait_gone(home) == []


def test_a_drained_worker_is_started_again(up, home, farm):
    def workers():
        return [w["name"] for w in json.loads(farm("workers", "list", "--json").out)["workers"]]

    wait_until(lambda: len(workers()) == 2, 20, what="the workers")
    name = next(name for name in workers() if name.startswith("sim-a4000"))
    running = farm("workers", "restart", name)
    assert (running.code, running.err.count("\n")) == (2, 1)
    assert "one that has ended" in running.err
    assert json.loads(farm("workers", "restart", "--json").out) == {"restarted": []}
    assert farm("workers", "drain", name).code == 0
    wait_until(lambda: name not in workers(), 20, what="the drain")

    def restarted():
        done = farm("workers", "restart", name, "--json")
        return done.code == 0 and json.loads(done.out)

    assert wait_until(restarted, 20, what="the restart") == {"restarted": ["a4000-0"]}
    wait_until(lambda: name in workers(), 20, what="the worker")
    unknown = farm("workers", "restart", "a100-7")
    assert (unknown.code, "known: a100-0, a4000-0" in unknown.err) == (2, True)


def test_nothing_is_restarted_where_no_farm_runs(home, farm):
    refused = farm("workers", "restart")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "running `farm up`" in refused.err
