"""Hosts of a lab: processes, users, files under /etc, /opt and /var, a name and a network of their own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from farm.processes import spawn, stop
from tests.processes import children_of, wait_until

ROOT = Path(__file__).resolve().parents[2]
DEVICE = "eth0"
OWN = ("etc", "opt", "var", "root/joulefarm")  # folders of a host, not this machine's
NEEDED = (Path(sys.base_prefix), Path(sys.prefix), ROOT)  # of this machine, for everybody on a host
PROGRAMS = ("ip", "unshare", "nsenter", "useradd", "runuser", "redis-server", "psql")


def need_lab() -> None:
    """Skip, with the reason, where this machine cannot be a lab."""
    if os.geteuid() != 0:
        pytest.skip("a lab of namespaces needs root")
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"a lab of namespaces needs {', '.join(missing)}: apt-get install iproute2 redis-server postgresql")
    if not Path("/dev/net/tun").exists():
        pytest.skip("a lab of namespaces needs /dev/net/tun")
    tried = subprocess.run(["unshare", *NAMESPACES, "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"this machine lets nobody make namespaces: {tried.stderr.strip()}")


NAMESPACES = ("--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc")


class Network:
    """The switch, and the hosts at it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: dict[str, str] = {}  # host name -> address, as every host's /etc/hosts says
        self.hosts: dict[str, Host] = {}
        self._switch = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.switch"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip

    def host(self, name: str, address: str, *, also: Sequence[str] = ()) -> Host:
        """Start a host, its files as they were where it was there before; ``also``: other names of it."""
        host = Host(self, name, address)
        self.hosts[name] = host
        self.ask(do="plug", name=name, pid=host.pid, device=DEVICE)
        for command in (f"addr add {address}/24 dev {DEVICE}", f"link set {DEVICE} up", "link set lo up"):
            host.run("ip", *command.split())
        self.names |= dict.fromkeys((name, *also), address)
        text = "127.0.0.1 localhost\n" + "".join(f"{where} {who}\n" for who, where in self.names.items())
        for other in self.hosts.values():
            (other.folder / "etc" / "hosts").write_text(text)
        return host

    def cable(self, name: str, *, delay: float = 0.0, loss: float = 0.0, up: bool = True) -> None:
        """What the cable of a host does to each frame: seconds of delay, share that is lost, or all of them."""
        self.ask(do="set", name=name, delay=delay, loss=loss, up=up)

    def turns(self, host: str) -> int:
        """How often a host has said something to a server after it had heard from it, as yet."""
        return sum(count for client, _port, count in self.ask(do="turns") if client == self.names[host])

    def ask(self, **order: Any) -> Any:
        assert self._switch.stdin is not None
        assert self._switch.stdout is not None
        self._switch.stdin.write(json.dumps(order) + "\n")
        self._switch.stdin.flush()
        return json.loads(self._switch.stdout.readline())

    def close(self) -> None:
        for host in self.hosts.values():
            host.kill()
        assert self._switch.stdin is not None
        assert self._switch.stdout is not None
        self._switch.stdin.close()
        self._switch.stdout.close()
        self._switch.wait(5)


class Host:
    """One of them. It dies with this process."""

    def __init__(self, network: Network, name: str, address: str) -> None:
        self.network = network
        self.name = name
        self.address = address
        self.folder = network.folder / name
        if not self.folder.exists():
            self._furnish()
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        script = [f"hostname {name}", *self._mounts(), f"touch {ready}", "exec sleep infinity"]
        self._unshare = spawn(["unshare", *NAMESPACES, "sh", "-euc", "\n".join(script)], log=self.folder / "init.log")
        wait_until(lambda: ready.exists() or self._unshare.poll() is not None, 10, f"host {name}")
        assert self._unshare.poll() is None, (self.folder / "init.log").read_text()
        (self.pid,) = children_of(self._unshare.pid)

    def run(
        self, *argv: str | Path, check: bool = True, timeout: float = 60, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command on the host, as its root, in the checkout."""
        done = subprocess.run(
            self._inside(argv), capture_output=True, text=True, cwd=ROOT, timeout=timeout, stdin=subprocess.DEVNULL,
            env={"PATH": f"/opt/joulefarm/bin:{os.environ['PATH']}", "HOME": "/root", "LC_ALL": "C.UTF-8"}
            | dict(environment or {}),
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{self.name}: {argv}: {done.stdout}{done.stderr}"
        return done

    def shell(self, text: str, *, check: bool = True, timeout: float = 60) -> str:
        """What lines of a shell print."""
        return self.run("sh", "-euc", text, check=check, timeout=timeout).stdout

    def log(self, unit: str) -> str:
        """What a unit of systemd said."""
        path = self.folder / "var" / "log" / f"{unit}.log"
        return path.read_text() if path.exists() else ""

    def power_off(self) -> None:
        """Die without a word: nobody hears that its connections are gone."""
        self.network.cable(self.name, up=False)
        self.kill()

    def kill(self) -> None:
        stop(self._unshare, 0.0)

    def _inside(self, argv: Sequence[str | Path]) -> list[str]:
        return ["nsenter", "--target", str(self.pid), "--net", "--mount", "--uts", "--ipc", "--pid",
                f"--wd={ROOT}", *map(str, argv)]  # fmt: skip

    def _furnish(self) -> None:
        for name in OWN:
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)
        shutil.copytree("/etc", self.folder / "etc", symlinks=True, dirs_exist_ok=True, ignore=_unreadable)
        for name in ("var/lib", "var/log", "opt/joulefarm/bin", "etc/systemd/system"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "var" / "run").symlink_to("/run")

    def _mounts(self) -> list[str]:
        """Shell lines that make the host's files its own; what of ours is needed and closed to others is opened."""
        lines = []
        for number, path in enumerate(NEEDED):
            (self.folder / f"needed{number}").mkdir(exist_ok=True)
            lines.append(f"mount --bind {path} {self.folder}/needed{number}")
        closed = {parent for path in NEEDED for parent in path.parents if not parent.stat().st_mode & stat.S_IXOTH}
        top = [path for path in closed if not closed & set(path.parents)]
        lines += [f"mount -t tmpfs -o mode=755 none {path}" for path in {*top, Path("/run"), Path("/root")}]
        for number, path in enumerate(NEEDED):
            if set(path.parents) & {*top, Path("/root")}:
                lines += [f"mkdir -p {path}", f"mount --bind {self.folder}/needed{number} {path}"]
        for name in OWN:
            lines += [f"mkdir -p /{name}", f"mount --bind {self.folder}/{name} /{name}"]
        return lines


def _unreadable(folder: str, names: list[str]) -> list[str]:
    """Of /etc, sockets, pipes and what comes from elsewhere stay behind."""
    kinds = (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK)
    left = []
    for name in names:
        with contextlib.suppress(OSError):
            if any(kind((Path(folder) / name).lstat().st_mode) for kind in kinds):
                continue
        left.append(name)
    return left
