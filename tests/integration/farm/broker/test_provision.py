"""A lab's own broker from one command: rules with passwords for the server, a URL for each of its users."""

from __future__ import annotations

import json
import re
import shlex
import stat
from pathlib import Path

import pytest
from redis import AuthenticationError, ConnectionError, Redis
from redis.exceptions import NoPermissionError

from farm.broker.embedded import find_server, free_port
from farm.processes import spawn, stop
from tests.processes import wait_until

README = Path(__file__).resolve().parents[4] / "deploy" / "broker" / "README.md"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "broker"


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def acl(farm, folder, port):
    def call(*gpus, **options):
        words = [word for gpu in gpus for word in ("--gpu", gpu)]
        words += [word for name, value in options.items() for word in (f"--{name}", value)]
        done = farm("broker", "acl", *words, "--host", f"127.0.0.1:{port}", "--out", folder, "--plain", "--json")
        assert (done.code, done.err) == (0, "")
        return {name: user["new_password"] for name, user in json.loads(done.out)["users"].items()}

    return call


def user(folder, name) -> Redis:
    return Redis.from_url((folder / "urls" / name).read_text().strip(), retry=None)


def answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except ConnectionError:
        return False


def test_the_lines_of_the_readme_make_files_that_only_their_owner_reads(farm, tmp_path, monkeypatch):
    (line,) = re.findall(r"```sh\n(farm .*)\n```", README.read_text())
    monkeypatch.chdir(tmp_path)
    done = farm(*shlex.split(line)[1:])
    assert (done.code, done.err) == (0, "")
    files = sorted(path for path in (tmp_path / "broker").rglob("*") if path.is_file())
    assert [path.name for path in files] == ["coordinator", "owner", "worker-a100", "worker-a6000", "users.acl"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in files} == {0o700}
    url = (tmp_path / "broker" / "urls" / "worker-a100").read_text()
    assert re.fullmatch(r"rediss://worker-a100:([0-9a-f]{64})@broker\.lab\.example:6379/0\n", url)
    password = url.split(":")[2].partition("@")[0]
    assert password not in (tmp_path / "broker" / "users.acl").read_text() + done.out


def test_users_of_a_lab_log_in_and_a_type_comes_later_and_a_password_is_changed(acl, folder, port, tmp_path):
    assert acl("a100") == {"owner": True, "coordinator": True, "worker-a100": True}
    settings = f'save ""\ndir {tmp_path}\nport {port}\nbind 127.0.0.1\naclfile {folder / "users.acl"}\n'
    (tmp_path / "broker.conf").write_text(settings)
    server = spawn([find_server(), tmp_path / "broker.conf"], log=tmp_path / "log")
    try:
        owner, worker = user(folder, "owner"), user(folder, "worker-a100")
        wait_until(lambda: answers(owner), 5, "the server")
        assert worker.llen("a100") == 0
        assert acl("a100", "a6000") == {
            "owner": False, "coordinator": False, "worker-a100": False, "worker-a6000": True,
        }  # fmt: skip
        assert owner.acl_load()
        assert user(folder, "worker-a100").llen("a100") == 0
        added = user(folder, "worker-a6000")
        assert added.llen("a6000") == 0
        with pytest.raises(NoPermissionError):
            added.llen("a100")
        old = user(folder, "worker-a100")
        assert acl("a100", "a6000", rotate="worker-a100")["worker-a100"]
        assert owner.acl_load()
        assert user(folder, "worker-a100").ping()
        with pytest.raises((AuthenticationError, ConnectionError)):
            old.ping()
    finally:
        stop(server, 2.0)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--host", "a b"], "--host: a b: a host name"),
        (["--host", "broker:many"], "--host: broker:many: a host name"),
        (["--host", "user:secret@broker"], "--host"),
        (["--host", "broker/1"], "--host: broker/1"),
        (["--host", "b", "--gpu", "a10O"], "did you mean a10"),
        (["--host", "b", "--rotate", "worker-h100"], "--rotate: worker-h100: did you mean worker-a100?"),
        (["--host", "b", "--out", "/dev/null"], "--out: /dev/null: a folder"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(farm, folder, words, says):
    words = words if "--out" in words else [*words, "--out", folder]
    done = farm("broker", "acl", "--gpu", "a100", *words)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert says in done.err
