"""The version of the code, and the commit where that can be known."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

__version__ = "0.2.0"
COMMIT_FILE: Final = "commit.txt"  # beside this module, in what was built: the commit that it was built from


@cache
def commit() -> str | None:
    """The commit that this code is of: git's in a checkout, ``-dirty`` appended when the tree differs; else that of the
    build, or FARM_COMMIT. None where nobody knows."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return _built_from() or os.environ.get("FARM_COMMIT") or None
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def _built_from() -> str | None:
    try:
        return Path(__file__).with_name(COMMIT_FILE).read_text().strip() or None
    except OSError:
        return None
