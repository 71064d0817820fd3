"""Every kind of URL that is taken leads to a broker which jobs travel by; what is none is refused, and not shown."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import redis

from farm.broker.app import Broker, resolve_url
from farm.broker.embedded import free_port
from farm.domain import RequestError
from farm.hosts import Hosts
from farm.processes import spawn, stop
from farm.settings import load
from farm.store.engine import Store
from tests.processes import wait_until
from tests.quick import QUICK, sweep_text


@pytest.mark.parametrize(
    "url",
    [
        "redis://:p@ss/TOPSECRET@host/0",
        "redis://u:p@TOPSECRET@host/0",
        "redis://u:12/TOPSECRET@host/0",
        "redis://u:p#TOPSECRET@host/0",
        "redis://u:p?TOPSECRET@host/0",
        "amqp://u:p/TOPSECRET@host//",
        "sentinel://u:p/TOPSECRET@host:1;sentinel://host:2",
    ],
)
def test_a_broken_password_is_refused_and_no_part_of_it_shown(farm, monkeypatch, url):
    with pytest.raises(RequestError) as raised:
        resolve_url(load(broker_url=url))
    assert "percent-encoded" in str(raised.value)
    monkeypatch.setenv("FARM_BROKER_URL", url)
    done = farm("coordinator")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "TOPSECRET" not in done.err + str(raised.value)


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """A Redis that listens on a port and on a socket, and three sentinels that watch it: URLs by kind."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server on PATH, which the sentinels need: apt-get install redis-server")
    folder = tmp_path_factory.mktemp("redis")
    port, started, sentinels = free_port(), [], []
    path = folder / "redis.sock"
    lines = [f"port {port}", f"unixsocket {path}", f"dir {folder}", 'save ""']
    (folder / "redis.conf").write_text("\n".join(lines))
    started.append(spawn([program, folder / "redis.conf"], log=folder / "redis.log"))
    for number in range(3):
        sentinels.append(free_port())
        own = folder / f"sentinel{number}"
        own.mkdir()
        lines = [f"port {sentinels[-1]}", f"dir {own}", f"sentinel monitor mymaster 127.0.0.1 {port} 2"]
        (own / "sentinel.conf").write_text("\n".join(lines))
        started.append(spawn([program, own / "sentinel.conf", "--sentinel"], log=own / "log"))
    for each in (port, *sentinels):
        wait_until(lambda p=each: answers(p), 20, f"the server on port {each}")
    yield {
        "socket": f"redis+socket://{path}",
        "sentinels": ";".join(f"sentinel://127.0.0.1:{each}" for each in sentinels) + "/0?master_name=mymaster",
    }
    for process in reversed(started):
        stop(process, 2.0)


def answers(port: int) -> bool:
    client = redis.Redis(port=port, retry=None, socket_timeout=1)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


@pytest.mark.parametrize("kind", ["socket", "sentinels"])
def test_jobs_travel_by_it(servers, home, farm, tmp_path, monkeypatch, kind):
    for name, value in (QUICK | {"FARM_BROKER_URL": servers[kind]}).items():
        monkeypatch.setenv(name, value)
    broker = Broker(load())
    broker.ping()
    broker.close()
    spec: Path = tmp_path / "spec.yaml"
    spec.write_text(sweep_text([1, 2, 3]))
    assert farm("sweep", "submit", spec).code == 0
    commands = (["coordinator"], ["worker", "--gpu", "a100", "--device", "0", "--simulate"])
    logs = [tmp_path / f"{command[0]}.log" for command in commands]
    running = [
        spawn([sys.executable, "-m", "farm", *command], log=log) for command, log in zip(commands, logs, strict=True)
    ]
    try:
        assert farm("sweep", "watch", "--interval", "0.2").code == 0
        store = Store.open(load(), create=False)
        assert [worker.alive for worker in Hosts(store).workers()] == [True]
        store.close()
    finally:
        for process in running:
            process.terminate()
        for process in running:
            stop(process, 10.0)
    assert "Traceback" not in "".join(log.read_text() for log in logs)
