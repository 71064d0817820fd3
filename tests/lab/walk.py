"""A lab set up as docs/lab.md says, line by line; what cannot be had here is listed below."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.integration.lab import make_certificate, system_postgres
from tests.lab.network import ROOT, Host, Network

# Lines that are done otherwise: nothing is downloaded, and a host has no GPU.
OTHERWISE = {
    "python3 -m venv /opt/joulefarm": "true",
    "/opt/joulefarm/bin/pip install 'joulefarm[worker]'": "true",
    "systemd-tmpfiles --create joulefarm.conf": "true",
}
HUB, DATABASE, FIRST, SECOND = "hub", "db", "gpu1", "gpu2"
ADDRESSES = {HUB: "10.99.0.1", DATABASE: "10.99.0.2", FIRST: "10.99.0.11", SECOND: "10.99.0.12"}
NAMES = {HUB: "broker.lab.example", DATABASE: "db.lab.example"}
HERE = "/root/joulefarm"  # where an operator stands
# The checkout's program; a worker's device is a simulated one.
PROGRAM = f"""\
#!/bin/sh
[ "$1" = worker ] && set -- "$@" --simulate
PYTHONPATH={ROOT} exec {sys.executable} -m farm "$@"
"""
SYSTEMCTL = f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tests.lab.systemctl "$@"\n'
UNIT = "[Service]\nUser={user}\nExecStart={command}\n"


def sections() -> dict[str, dict[str, list[str]]]:
    """Heading -> language -> the blocks of docs/lab.md under it."""
    parts = re.split(r"^## (.+)$", (ROOT / "docs" / "lab.md").read_text(), flags=re.M)
    found: dict[str, dict[str, list[str]]] = {}
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        blocks = found.setdefault(heading, {})
        for language, block in re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S):
            blocks.setdefault(language, []).append(block)
    return found


class Lab:
    """Four hosts. ``sweeps``: what the operator's folder holds."""

    def __init__(self, folder: Path) -> None:
        self.network = Network(folder)
        self.docs = sections()
        self.said: dict[str, str] = {}  # by section, what its lines printed
        self.done: list[str] = []  # the lines

    def build(self) -> None:
        for name, address in ADDRESSES.items():
            self._prepare(self.network.host(name, address, also=[NAMES[name]] if name in NAMES else []))
        self._database()
        self._hub()
        self._workers(FIRST, "a100")
        self._workers(SECOND, "a6000")

    @property
    def hub(self) -> Host:
        return self.network.hosts[HUB]

    def farm(self, *words: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """A command of the operator's."""
        (first, *_) = self.docs["The coordinator's host"]["sh"][-1].splitlines()
        return self.hub.run("sh", "-euc", f'{first}\nfarm "$@"', "farm", *words, check=check, timeout=timeout)

    def restart_database(self, address: str) -> None:
        """The database's host comes back, at another address; everybody finds it by its name."""
        host = self.network.host(DATABASE, address, also=[NAMES[DATABASE]])
        host.run("install", "-d", "-o", "postgres", "/run/postgresql")
        host.run("/opt/systemctl/systemctl", "start", "postgresql")

    def follow(self, section: str, host: Host, *, change: dict[str, str] | None = None) -> None:
        """Do what a section says on a host, in one shell."""
        lines = "".join(self.docs[section]["sh"]).splitlines()
        self.done += lines
        script = "\n".join((OTHERWISE | (change or {})).get(line, line) for line in lines)
        path = "PATH=/opt/systemctl:$PATH"
        deploy = f"ln -sfn {ROOT}/deploy deploy"
        self.said[f"{section} {host.name}"] = host.shell(f"cd {HERE}\n{deploy}\n{path}\n{script}", timeout=90)

    def _prepare(self, host: Host) -> None:
        for path, text in (("opt/joulefarm/bin/farm", PROGRAM), ("opt/systemctl/systemctl", SYSTEMCTL)):
            file = host.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o755)
        operator = host.folder / HERE.lstrip("/")
        (operator / "ca.pem").write_text("".join(path.read_text() for path in self._certificates()))
        self.follow("Every host", host)

    def _certificates(self) -> Iterator[Path]:
        """Of the two servers; each signed by itself."""
        for name in NAMES.values():
            folder = self.network.folder / name
            if not folder.exists():
                folder.mkdir()
                make_certificate(folder, name)
            yield folder / "cert.pem"

    def _serve(self, host: Host, user: str, folder: str, unit: str, command: str) -> None:
        """What a package of the system brings: a unit, and certificates where its user reads them."""
        target = host.folder / folder
        target.mkdir(parents=True, exist_ok=True)
        for name in ("cert.pem", "key.pem"):
            shutil.copy(self.network.folder / NAMES[host.name] / name, target / name)
        host.run("chown", "-R", user, f"/{folder}")
        host.run("chmod", "-R", "u=rwX,go=", f"/{folder}")
        path = host.folder / "etc" / "systemd" / "system" / f"{unit}.service"
        path.write_text(UNIT.format(user=user, command=command))

    def _database(self) -> None:
        host = self.network.hosts[DATABASE]
        programs = system_postgres()
        data = "/var/lib/postgresql/farm"
        host.shell("install -d -o postgres /var/lib/postgresql /run/postgresql")
        host.run("runuser", "-u", "postgres", "--", f"{programs}/initdb", "-D", data, "--auth=peer", "--no-sync")
        server, access = self.docs["The database's host"]["conf"]
        for name, text in (("postgresql.conf", server), ("pg_hba.conf", access)):
            with (host.folder / data.lstrip("/") / name).open("a") as file:
                file.write(text)
        command = f"{programs}/postgres -D {data} -k /run/postgresql -c fsync=off"
        self._serve(host, "postgres", "etc/postgresql", "postgresql", command)
        restart = "systemctl restart postgresql"
        ready = "until runuser -u postgres -- psql -qc 'SELECT 1' >/dev/null 2>&1; do sleep 0.1; done"
        self.follow("The database's host", host, change={restart: f"{restart}; {ready}"})

    def _hub(self) -> None:
        operator = self.hub.folder / HERE.lstrip("/")
        for path in (self.network.hosts[DATABASE].folder / HERE.lstrip("/")).glob("database-*"):
            shutil.copy(path, operator)
        (operator / "receivers").write_text("json://broker.lab.example:9/joulefarm\n")
        (text,) = self.docs["The coordinator's host"]["conf"]
        self._serve(self.hub, "redis", "etc/redis", "redis-server", "redis-server /etc/redis/redis.conf")
        (self.hub.folder / "etc" / "redis" / "redis.conf").write_text(
            f"dir /tmp\ndaemonize no\n{text}appenddirname {self.network.folder.name}\n"
        )
        change = {"farm events test": "farm events test || true"}  # nobody receives here
        self.follow("The coordinator's host", self.hub, change=change)

    def _workers(self, name: str, gpu: str) -> None:
        host = self.network.hosts[name]
        operator, theirs = (h.folder / HERE.lstrip("/") for h in (self.hub, host))
        shutil.copy(operator / "database-farm_worker", theirs)
        shutil.copy(operator / "broker" / "urls" / f"worker-{gpu}", theirs)
        units = "systemctl enable --now farm-worker@a100-0 farm-worker@a100-1"
        self.follow("A GPU host", host, change={units: f"systemctl enable --now farm-worker@{gpu}-0"})
