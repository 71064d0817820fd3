"""A lab as it should be: TLS to broker and database, verified, each process under its own least-privilege user."""

from __future__ import annotations

import os
import sys

import pytest

from farm.broker import acl
from farm.processes import spawn, stop
from tests.integration.lab import Lab, need_tls_servers
from tests.processes import wait_gone, wait_until
from tests.quick import QUICK, sweep_text


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    need_tls_servers()
    servers = Lab(tmp_path_factory.mktemp("tls") / "lab", tls=True)
    yield servers
    servers.close()


def setting(folder, name, value) -> dict[str, str]:
    """The environment of a process that reads a secret from a file of its own."""
    path = folder / name.lower()
    path.write_text(value + "\n")
    path.chmod(0o600)
    return {f"FARM_{name}_FILE": str(path)}


def test_a_lab_over_tls_with_least_privilege(lab, tmp_path, home, farm_process, monkeypatch):
    for name, value in (QUICK | {"FARM_BROKER_CA": str(lab.certificate)}).items():
        monkeypatch.setenv(name, value)
    owner, worker = tmp_path / "owner", tmp_path / "worker"
    owner.mkdir()
    worker.mkdir()
    as_owner = setting(owner, "DATABASE_URL", lab.database_url("postgres"))
    as_owner |= setting(owner, "BROKER_URL", lab.broker_url(acl.COORDINATOR))
    as_worker = setting(worker, "DATABASE_URL", lab.database_url("farm_worker"))
    as_worker |= setting(worker, "BROKER_URL", lab.broker_url(acl.worker("a100")))
    as_worker |= {"FARM_HOME": str(tmp_path / "worker home")}
    assert farm_process("db", "upgrade", **as_owner).code == 0
    assert farm_process("db", "grant-worker", "farm_worker", **as_owner).code == 0
    spec = tmp_path / "spec.yaml"
    spec.write_text(sweep_text([1, 2, 3]))
    assert farm_process("sweep", "submit", spec, **as_owner).code == 0
    command = [sys.executable, "-m", "farm"]
    processes = [
        spawn([*command, "coordinator"], log=tmp_path / "coordinator.log", env={**os.environ, **as_owner}),
        spawn(
            [*command, "worker", "--gpu", "a100", "--device", "0", "--simulate"],
            log=tmp_path / "worker.log",
            env={**os.environ, **as_worker},
        ),
    ]
    try:
        log = tmp_path / "worker.log"
        wait_until(lambda: log.exists() and log.read_text().count(", accepted, ") == 3, 30, "three jobs over TLS")
    finally:
        for process in reversed(processes):
            stop(process, 10.0)
    assert wait_gone(home) == []


@pytest.mark.parametrize(
    ("broker_ca", "host", "says"), [(False, "localhost", "certificate"), (True, "127.0.0.1", "certificate")]
)
def test_a_broker_that_cannot_prove_who_it_is_is_not_spoken_to(lab, farm_process, broker_ca, host, says):
    environment = {"FARM_BROKER_URL": lab.broker_url(acl.COORDINATOR, host=host)}
    environment |= {"FARM_BROKER_CA": str(lab.certificate)} if broker_ca else {}
    refused = farm_process("coordinator", **environment)
    assert refused.code == 1
    assert "does not answer" in refused.err.splitlines()[-1]
    assert says in refused.err.splitlines()[-1].lower()


def test_a_database_that_cannot_prove_who_it_is_is_not_spoken_to(lab, farm_process):
    for url in (lab.database_url("postgres", host="127.0.0.1"), lab.database_url("postgres").partition("&")[0]):
        refused = farm_process("db", "upgrade", FARM_DATABASE_URL=url)
        assert refused.code == 1
        assert refused.err.count("\n") == 1
        assert "certificate" in refused.err
    plain = lab.database_url("postgres").partition("?")[0] + "?sslmode=disable"
    assert "no encryption" in farm_process("db", "upgrade", FARM_DATABASE_URL=plain).err


def test_an_authority_that_is_not_there_is_said_in_one_line(farm_process):
    refused = farm_process("coordinator", FARM_BROKER_URL="rediss://x:y@localhost:1/0", FARM_BROKER_CA="/nowhere.pem")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "FARM_BROKER_CA" in refused.err


def test_a_user_of_a_broker_whose_authority_is_the_labs_own_is_barred(lab, farm_process):
    environment = {"FARM_BROKER_URL": lab.broker_url(acl.OWNER), "FARM_BROKER_CA": str(lab.certificate)}
    done = farm_process("revoke", acl.worker("a4000"), **environment)
    assert (done.code, done.err) == (0, "")
    assert f"broker: {acl.worker('a4000')} is off" in done.out
    environment.pop("FARM_BROKER_CA")
    unverified = farm_process("revoke", acl.worker("a4000"), **environment)
    assert unverified.code == 1
    assert "certificate" in unverified.err.lower()
