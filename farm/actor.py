"""Who gives a command, as it is noted beside what was done."""

from __future__ import annotations

import getpass
import os
import socket

from farm.domain.text import one_line


def user_at_host() -> str:
    """Name who runs this process, as ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        user = f"uid{os.getuid()}"
    return one_line(f"{user}@{socket.gethostname()}", 200)
