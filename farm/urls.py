"""URLs of servers, which may hold a password, and of SQLite files: what is one, and what of it may be shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urlsplit

SQLITE: Final = "sqlite:///"


def of_file(path: Path) -> str:
    """The URL of a SQLite file, whatever its name: signs that a URL means something by are percent-encoded."""
    return SQLITE + re.sub(r"[%?#@]", lambda sign: quote(sign[0]), str(path))


def file_of(url: str) -> Path | None:
    """The SQLite file that a URL names; None for a database on a server, and one in memory."""
    name = unquote(url.removeprefix(SQLITE).partition("?")[0])
    return Path(name) if url.startswith(SQLITE) and name not in ("", ":memory:") else None


def is_plain(url: str) -> bool:
    """Whether a URL can only be read in one way.

    A password with an unquoted ``@ / ? #`` ends too early for one library and too late for another, and a part of it
    is then taken for a host, which errors repeat.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is no number
    except ValueError:
        return False
    return url.isprintable() and parts.netloc.count("@") <= 1 and "@" not in parts.path + parts.query + parts.fragment


def redact(url: str) -> str:
    """The URL without what is secret in it."""
    place, question, _ = re.sub(r"//.*@", "//***@", url, flags=re.DOTALL).partition("?")  # passwords may hold "@"
    return place + ("?***" if question else "")
