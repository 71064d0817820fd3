"""The users of a lab's own broker: passwords are made for them, rules for its server, and for every user a URL."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from farm.broker import acl
from farm.domain.errors import OperationError, RequestError, unknown_name
from farm.files.atomic import write_private

ACL_FILE: Final = "users.acl"
URLS: Final = "urls"  # a file for each user, named as the user is
PORT: Final = 6379
PASSWORD_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Provisioned:
    """The files that ``provision`` wrote."""

    acl: Path
    urls: dict[str, Path]  # by user
    renewed: tuple[str, ...]  # users whose password is new


def provision(
    folder: Path, host: str, queues: Iterable[str], *, tls: bool = True, rotate: Collection[str] = ()
) -> Provisioned:
    """Write the server's file of rules and the users' URLs into a folder that its owner alone reads.

    Whoever has a URL there keeps its password, so that a GPU type can be added to a lab that works; ``rotate`` names
    those who get another. RequestError where a folder, host or user cannot be what is asked.
    """
    address = _address(host)
    rules = acl.users(queues)
    for name in rotate:
        if name not in rules:
            raise unknown_name("--rotate", name, rules)
    kept = {name: _password(folder / URLS / name) for name in rules if name not in rotate}
    passwords = {name: kept.get(name) or secrets.token_hex(PASSWORD_BYTES) for name in rules}
    scheme = "rediss" if tls else "redis"
    paths = {name: folder / URLS / name for name in rules}
    try:
        for part in (folder, folder / URLS):
            part.mkdir(mode=0o700, exist_ok=True)
        for name, path in paths.items():
            write_private(path, f"{scheme}://{name}:{passwords[name]}@{address}/0\n")
        write_private(folder / ACL_FILE, acl.file(queues, passwords))
    except (OSError, OperationError) as error:
        remedy = f"a folder that can be written ({getattr(error, 'strerror', None) or error})"
        raise RequestError("--out", str(folder), remedy) from None
    return Provisioned(folder / ACL_FILE, paths, tuple(name for name in rules if passwords[name] != kept.get(name)))


def _address(host: str) -> str:
    """Name and port of the server."""
    remedy = "a host name or address, with :PORT where that is not 6379"
    try:
        parts = urlsplit(f"//{host}")
        if not parts.hostname or parts.netloc != host or not re.fullmatch(r"[\w.\[\]:-]+", host, re.ASCII):
            raise ValueError
        return host if parts.port is not None else f"{host}:{PORT}"
    except ValueError:
        raise RequestError("--host", host, remedy) from None


def _password(path: Path) -> str | None:
    """The password in a URL that was written before; None where there is none."""
    try:
        return urlsplit(path.read_text().strip()).password
    except (OSError, UnicodeDecodeError, ValueError):
        return None
