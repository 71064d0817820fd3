"""Can this host do its part? Checks of what the coordinator needs; those of a GPU host are in workers.doctor."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from farm.domain.errors import FarmError
from farm.files.paths import exists
from farm.settings import Settings

LITTLE_DISK_BYTES: Final = 2e9
NO_DISK_BYTES: Final = 1e8


class Level(StrEnum):
    """How a check of `farm doctor` came out."""

    OK = "ok"
    WARNING = "warning"  # something is missing or in the way, but not everything
    FAILURE = "failure"  # what depends on it will not work


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `farm doctor`."""

    check: str
    level: Level
    found: str
    remedy: str = ""  # what to do; empty where nothing has to be done


def ok(check: str, found: str) -> Finding:
    """A finding that all is well."""
    return Finding(check, Level.OK, found)


def warning(check: str, found: str, remedy: str) -> Finding:
    """A finding that something is missing or in the way, but not everything."""
    return Finding(check, Level.WARNING, found, remedy)


def failure(check: str, found: str, remedy: str) -> Finding:
    """A finding that what depends on it will not work."""
    return Finding(check, Level.FAILURE, found, remedy)


def coordinator(settings: Settings) -> Iterator[Finding]:
    """Check everything but the GPU. Nothing is created or changed, but for an empty folder that is taken away at once
    where FARM_HOME is not there yet."""
    yield ok("python", f"{platform.python_version()} on {platform.system()} {platform.release()}")
    yield home(settings)
    yield passwords(settings)
    yield disk(settings)
    yield from database(settings)
    yield broker(settings)


def home(settings: Settings) -> Finding:
    """FARM_HOME: writable by its owner, closed to others."""
    path = settings.home
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return _home_to_be(path)
    except OSError as error:
        return failure("home", f"{path}: {error.strerror}", "set FARM_HOME to a folder of yours")
    if not stat.S_ISDIR(mode):
        return failure("home", f"{path} is not a folder", "set FARM_HOME to a folder of yours")
    if not os.access(path, os.W_OK | os.X_OK):
        return failure("home", f"{path} cannot be written", "set FARM_HOME to a folder of yours, or change its owner")
    if mode & 0o077:
        return warning("home", f"{path} is open to other users (mode {mode & 0o777:o})", f"chmod 700 {path}")
    return ok("home", str(path))


def _home_to_be(path: Path) -> Finding:
    """Whether a home that is not there can be made: the nearest folder above it takes a new one."""
    above = next(parent for parent in path.absolute().parents if exists(parent))
    try:
        tempfile.TemporaryDirectory(dir=above, prefix=".joulefarm-").cleanup()
    except OSError as error:
        remedy = "set FARM_HOME to a folder of yours"
        return failure("home", f"{path} cannot be made in {above}: {error.strerror}", remedy)
    return ok("home", f"{path} will be made when it is needed")


def passwords(settings: Settings) -> Finding:
    """Files that hold passwords, those of the embedded broker among them: for their owner only."""
    named = [settings.database_url_file, settings.broker_url_file, settings.events_urls_file]
    written = [settings.home / "farm.toml", settings.run / "broker.json", settings.run / "broker" / "users.acl"]
    files = [path for path in (*named, *written) if path is not None]
    exposed = [str(path) for path in files if _others_read(path)]
    if exposed:
        shown = " ".join(exposed)
        return warning("passwords", f"other users can read {shown}", f"chmod 600 {shown}, and change what is in it")
    return ok("passwords", "no other user can read a file with passwords")


def _others_read(path: Path) -> bool:
    """Whether its group, or everybody, may read the file and reach it through every folder above it."""
    try:
        path = path.resolve(strict=True)
        mode = path.stat().st_mode
        above = [folder.stat().st_mode for folder in path.parents]
    except OSError:  # what is not there shows nothing; where it is needed, that is said
        return False
    return any(
        mode & read and all(folder & search for folder in above)
        for read, search in ((stat.S_IRGRP, stat.S_IXGRP), (stat.S_IROTH, stat.S_IXOTH))
    )


def disk(settings: Settings) -> Finding:
    """Room for the spool, the database and the raw logs."""
    path = settings.home
    while not exists(path):
        path = path.parent
    free = shutil.disk_usage(path).free
    room = f"{free / 1e9:.1f} GB free under {path}"
    if free < NO_DISK_BYTES:
        return failure("disk", room, "make room: results are kept on disk first")
    if free < LITTLE_DISK_BYTES:
        return warning("disk", room, "make room soon: results are kept on disk first")
    return ok("disk", room)


def database(settings: Settings) -> Iterator[Finding]:
    """The database answers and is of this version, or will be made; what waits in it, and for what."""
    from farm import results
    from farm.database import opened
    from farm.hosts import Hosts

    try:
        with opened(settings=settings, create=False, missing_is_empty=True) as store:
            name, hosts = store.name, Hosts(store)
            alerts = hosts.alerts()
            size = results.raw_logs_bytes(store)
    except FarmError as error:
        yield failure("database", str(error), "check FARM_DATABASE_URL; `farm db upgrade` brings an old one up")
        return
    yield raw_logs(size, settings.raw_logs_bytes)
    yield ok("database", name if name != "sqlite://" else "none yet: made by the first command that writes")
    for alert in alerts:
        yield warning(alert.kind.replace("_", " "), alert.text, alert.remedy)


def raw_logs(size: int, bound: int) -> Finding:
    """How much room the power logs take in the database."""
    room = f"{size / 1e9:.2f} GB of power logs, at most {bound / 1e9:.1f} GB are kept"
    if size > 0.9 * bound:
        return warning(
            "raw logs", room, "the oldest are dropped; FARM_RAW_LOGS_BYTES of the coordinator says how many stay"
        )
    return ok("raw logs", room)


def broker(settings: Settings) -> Finding:
    """The broker answers. That the embedded one rests is no fault: `farm up` starts it."""
    from farm.broker.app import Broker, resolve_url
    from farm.broker.embedded import EmbeddedBroker
    from farm.urls import redact

    if settings.broker() is None and not EmbeddedBroker(settings).running:
        return warning("broker", "the embedded one is not running", "`farm up` starts it; else set FARM_BROKER_URL")
    try:
        with closing(Broker(settings)) as connection:
            connection.ping()
        return ok("broker", redact(resolve_url(settings)))
    except FarmError as error:
        return failure("broker", str(error), "start it, or correct FARM_BROKER_URL")


def package(name: str, purpose: str, extra: str) -> Finding:
    """Whether an optional distribution is installed, without importing it."""
    try:
        return ok(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return warning(name, f"not installed: no {purpose} here", f"pip install 'joulefarm[{extra}]'")


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level of all findings."""
    order = list(Level)
    return max((f.level for f in findings), key=order.index, default=Level.OK)
