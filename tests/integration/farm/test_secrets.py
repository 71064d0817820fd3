"""Passwords of broker and database: in no log, on no command line, in no message, whatever goes wrong."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from farm.broker import acl
from farm.processes import spawn, stop
from farm.settings import load
from farm.store.engine import Store
from tests.integration.lab import BROKER_PASSWORD, DATABASE_PASSWORD, Lab
from tests.processes import processes_of, wait_gone, wait_until
from tests.quick import QUICK, sweep_text

WRONG = "Recognisable-Wrong-Secret"
SECRETS = (BROKER_PASSWORD, DATABASE_PASSWORD, WRONG)
FARM = [sys.executable, "-m", "farm"]
MEASURED = ", accepted, "


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    servers = Lab(tmp_path_factory.mktemp("secrets") / "lab", tls=False)
    Store.upgrade(load(database_url=servers.database_url("postgres"))).close()
    yield servers
    servers.close()


@pytest.fixture
def clean(tmp_path):
    """What was said so far holds no secret: ``clean(text, ...)``."""

    def check(*texts: str) -> None:
        for said in texts:
            for secret in SECRETS:
                assert secret not in said

    return check


def urls(lab, **changes: str) -> dict[str, str]:
    return {
        "FARM_DATABASE_URL": lab.database_url("postgres"),
        "FARM_BROKER_URL": lab.broker_url(acl.OWNER),
        "FARM_LOG_LEVEL": "debug",
    } | changes


def test_a_farm_says_no_secret_while_all_goes_well_and_when_its_broker_goes(
    lab, home, tmp_path, farm_process, monkeypatch, clean
):
    for name, value in (QUICK | urls(lab)).items():
        monkeypatch.setenv(name, value)
    spec = tmp_path / "spec.yaml"
    spec.write_text(sweep_text([1, 2]))
    up = spawn([*FARM, "up", "--simulate", "a100"], log=tmp_path / "up.log", env=dict(os.environ))
    try:
        submitted = farm_process("sweep", "submit", spec)
        assert submitted.code == 0
        log = home / "run" / "logs" / "worker-a100-0.log"
        wait_until(lambda: log.exists() and log.read_text().count(MEASURED) == 2, 30, "two results")
        running = processes_of(home)
        assert len(running) >= 4  # the farm, its coordinator, its worker and the worker's child
        clean(*(Path(f"/proc/{pid}/cmdline").read_text() for pid in running))
        said = [farm_process(*argv) for argv in (("doctor",), ("jobs", "show", "1"), ("workers", "list", "--json"))]
        lab.stop_broker()
        spec.write_text(sweep_text([3]))
        said.append(farm_process("sweep", "submit", spec))
        coordinator = home / "run" / "logs" / "coordinator.log"
        wait_until(lambda: "does not answer" in coordinator.read_text(), 20, "the coordinator to notice")
        wait_until(lambda: "onnection" in log.read_text(), 20, "the worker to notice")
        said.append(farm_process("doctor", "--json"))
        said.append(farm_process("up", "--simulate", "a100", FARM_HOME=str(tmp_path / "another")))
        assert said[-1].code == 1
    finally:
        stop(up, 20.0)
    assert wait_gone(home) == []
    clean(submitted.err, *(one.out + one.err for one in said), (tmp_path / "up.log").read_text())
    written = [path for path in home.rglob("*") if path.is_file()]
    assert {log, coordinator} <= set(written)
    clean(*(path.read_text(errors="replace") for path in written))


@pytest.mark.parametrize(
    ("argv", "change"),
    [
        (("db", "upgrade"), {"FARM_DATABASE_URL": "wrong"}),
        (("db", "upgrade"), {"FARM_DATABASE_URL": f"postgresql://u:{WRONG}@127.0.0.1:1/x"}),
        (("db", "upgrade"), {"FARM_DATABASE_URL": f"postgresql://127.0.0.1:1/x?user=u&password={WRONG}"}),
        (("db", "upgrade"), {"FARM_DATABASE_URL": f"postgresql://u:{WRONG}@127.0.0.1:port/x"}),
        (("db", "upgrade"), {"FARM_DATABASE_URL": f"mysql://u:{WRONG}@127.0.0.1/x"}),
        (("db", "upgrade"), {"FARM_DATABASE_URL": f"postgresql//u:{WRONG}@127.0.0.1/x"}),
        (("coordinator",), {"FARM_BROKER_URL": f"redis://u:{WRONG}@127.0.0.1:1/0"}),
        (("coordinator",), {"FARM_BROKER_URL": f"redis://u:a/b@{WRONG}@127.0.0.1:1/0"}),
        (("coordinator",), {"FARM_BROKER_URL": f"redis://u:{WRONG}@127.0.0.1:port/0"}),
        (("coordinator",), {"FARM_BROKER_URL": f"redis://127.0.0.1:1/0?password={WRONG}"}),
        (("coordinator",), {"FARM_BROKER_URL": f"redis//u:{WRONG}@127.0.0.1:1/0"}),
        (("coordinator",), {"FARM_BROKER_URL": f"mongodb://u:{WRONG}@127.0.0.1:1/0"}),
        (("coordinator",), {"FARM_BROKER_URL": f"redis://u:{WRONG}/x@127.0.0.1:1/0"}),
        (("doctor",), {"FARM_BROKER_URL": f"redis://u:{WRONG}@127.0.0.1:1/0"}),
    ],
    ids=lambda value: str(next(iter(value.values())) if isinstance(value, dict) else value[0]),
)
def test_no_error_says_a_secret(lab, farm, clean, monkeypatch, argv, change):
    changed = {k: lab.database_url("postgres", password=WRONG) if v == "wrong" else v for k, v in change.items()}
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    outcome = farm(*argv)
    assert outcome.code in (1, 2)
    assert outcome.err.startswith("farm: ") == (argv != ("doctor",))  # which tells it in its list
    assert "unexpected" not in outcome.err
    clean(outcome.out, outcome.err)


def test_settings_that_cannot_be_show_no_secret(farm, home, clean):
    home.mkdir()
    (home / "farm.toml").write_text(f'broker_url = ["redis://u:{WRONG}@h/0"]\n')
    refused = farm("doctor")
    assert refused.code == 2
    assert "FARM_BROKER_URL" in refused.err
    clean(refused.err)


def test_a_home_and_what_is_in_it_belong_to_its_owner(home, farm_process, tmp_path):
    """Also where it was open before."""
    home.mkdir(mode=0o777)
    home.chmod(0o777)
    old = os.umask(0)
    try:
        started = farm_process("up", "--simulate", "a100", "--detach")
    finally:
        os.umask(old)
    try:
        assert started.code == 0, started.err
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        secret = (home / "run" / "broker.json", home / "run" / "broker" / "users.acl")
        assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}
    finally:
        farm_process("down")
    assert wait_gone(home) == []


def test_a_secret_comes_from_a_file(lab, farm, tmp_path, monkeypatch, clean):
    path = tmp_path / "url"
    path.write_text(lab.database_url("postgres") + "\n")
    path.chmod(0o600)
    monkeypatch.setenv("FARM_DATABASE_URL_FILE", str(path))
    done = farm("db", "upgrade")
    assert done.code == 0
    assert "***" in done.out
    clean(done.out, done.err)
    path.unlink()
    refused = farm("db", "upgrade")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert str(path) in refused.err
