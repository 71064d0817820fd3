"""A real RabbitMQ for tests, from the system's package: a node, a port and a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Any

import amqp

from farm.broker.embedded import LOOPBACK, free_port
from farm.processes import kill_group, spawn, stop
from tests.processes import wait_until

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
PASSWORD = "Recognisable-Broker-Secret"
START_SECONDS = 90.0  # on a machine that has much else to do


def missing() -> str:
    """Why there can be none here; empty where there can."""
    if not (PROGRAMS / "rabbitmq-server").exists() or shutil.which("epmd") is None:
        return "no RabbitMQ under /usr/lib/rabbitmq: apt-get install rabbitmq-server"
    return ""


class RabbitMQ:
    """One node with the users `coordinator`, `worker-QUEUE` and `stranger`, all of one password.

    Args:
        queues: whose workers have users.
        consumer_timeout_seconds: after which the server ends a channel that has not answered a message.
        certificate: a PEM file with `key.pem` beside it: TLS on a second port.
    """

    def __init__(
        self,
        queues: tuple[str, ...] = ("a100",),
        *,
        consumer_timeout_seconds: float = 4.0,
        certificate: Path | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="joulefarm-rabbitmq-"))
        self.port, self.tls_port = free_port(), free_port()
        self.certificate = certificate
        self._epmd_port, self._distribution_port = free_port(), free_port()
        self._node = f"joulefarm-{uuid.uuid4().hex[:8]}@localhost"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._configure(queues, consumer_timeout_seconds)

    def url(self, user: str, *, password: str = PASSWORD, tls: bool = False, host: str = LOOPBACK) -> str:
        scheme, port = ("amqps", self.tls_port) if tls else ("amqp", self.port)
        return f"{scheme}://{user}:{password}@{host}:{port}//"

    def connect(self, user: str = "stranger") -> amqp.Connection:
        connection = amqp.Connection(f"{LOOPBACK}:{self.port}", userid=user, password=PASSWORD, connect_timeout=5)
        connection.connect()
        return connection

    def start(self) -> None:
        if not self._processes:
            epmd = [shutil.which("epmd") or "epmd", "-address", LOOPBACK, "-port", str(self._epmd_port)]
            self._processes.append(spawn(epmd, log=self.folder / "epmd.log", env={"PATH": os.environ["PATH"]}))
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FARM_")}
        environment = inherited | self._environment()
        server = spawn([PROGRAMS / "rabbitmq-server"], log=self.folder / "server.log", env=environment)
        self._processes.append(server)

        def answers() -> bool:
            assert server.poll() is None, (self.folder / "server.log").read_text()[-2000:]
            try:
                self.connect().close()
            except (OSError, amqp.AMQPError):
                return False
            return True

        wait_until(answers, START_SECONDS, "RabbitMQ")

    def kill(self) -> None:
        """End the server as a power cut would."""
        server = self._processes.pop()
        kill_group(server.pid)
        server.wait()

    def remove(self) -> None:
        for process in reversed(self._processes):
            stop(process, 0.0)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> str:
        return "".join(path.read_text() for path in (self.folder / "log").glob("*.log"))

    def _configure(self, queues: tuple[str, ...], consumer_timeout_seconds: float) -> None:
        rights = {"coordinator": (".*", ".*", ".*"), "stranger": (".*", ".*", ".*")}
        rights |= {f"worker-{queue}": (f"^{queue}$",) * 3 for queue in queues}
        definitions = {
            "vhosts": [{"name": "/"}],
            "users": [{"name": name, "password": PASSWORD, "tags": ""} for name in rights],
            "permissions": [
                {"user": name, "vhost": "/", "configure": configure, "write": write, "read": read}
                for name, (configure, write, read) in rights.items()
            ],
        }
        (self.folder / "definitions.json").write_text(json.dumps(definitions))
        lines = [
            f"listeners.tcp.1 = {LOOPBACK}:{self.port}",
            f"load_definitions = {self.folder / 'definitions.json'}",
            f"consumer_timeout = {int(consumer_timeout_seconds * 1000)}",
            "log.file.level = warning",
            "vm_memory_high_watermark.relative = 0.9",
            "disk_free_limit.absolute = 1MB",
        ]
        if self.certificate is not None:
            lines += [
                f"listeners.ssl.1 = {LOOPBACK}:{self.tls_port}",
                f"ssl_options.cacertfile = {self.certificate}",
                f"ssl_options.certfile = {self.certificate}",
                f"ssl_options.keyfile = {self.certificate.parent / 'key.pem'}",
                "ssl_options.verify = verify_none",
            ]
        (self.folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        # How often it looks for consumers whose time is up.
        (self.folder / "advanced.config").write_text("[{rabbit, [{channel_tick_interval, 1000}]}].\n")
        (self.folder / "plugins").write_text("[].\n")

    def _environment(self) -> dict[str, Any]:
        return {
            "HOME": str(self.folder),  # where Erlang keeps its cookie
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
        }
