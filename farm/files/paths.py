"""What is at a path that somebody named. What cannot be looked at, for its name is too long or a folder above it is
closed to this user, is not there: whoever opens it says why."""

from __future__ import annotations

import stat
from pathlib import Path


def exists(path: Path) -> bool:
    """Whether anything is there."""
    return _mode(path) is not None


def is_file(path: Path) -> bool:
    """Whether a plain file is there."""
    mode = _mode(path)
    return mode is not None and stat.S_ISREG(mode)


def is_folder(path: Path) -> bool:
    """Whether a folder is there."""
    mode = _mode(path)
    return mode is not None and stat.S_ISDIR(mode)


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):  # a ValueError for a NUL in the name
        return None
