"""Where modules come from: never from the folder in which the caller stands, which may hold a ``workers`` of its own.

Python looks there first for ``python -m`` and ``python -c``, and where PYTHONPATH has an empty entry, as
``PYTHONPATH=$PYTHONPATH:/mine`` easily makes. The environment itself stays as it is: a measured command inherits it.
"""

from __future__ import annotations

import os
import site
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]  # what farm, workers and analysis lie in


def leave_out_caller() -> None:
    """From now on this process imports nothing from the working directory, unless the project itself lies there."""
    sys.path[:] = [entry for entry in sys.path if not _is_callers(entry)]


def python(*arguments: str) -> list[str]:
    """A command line of this interpreter that takes no modules from the working directory; see ``environment``."""
    return [sys.executable, "-P", *arguments]


def environment() -> dict[str, str]:
    """This process's environment for a child of ``python``: its modules are those of this process."""
    entries = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if not _is_callers(entry)]
    installed = {Path(folder).resolve() for folder in (*site.getsitepackages(), site.getusersitepackages())}
    if ROOT not in installed:
        entries.append(str(ROOT))
    rest = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**rest, "PYTHONPATH": os.pathsep.join(entries)} if entries else rest


def _is_callers(entry: str) -> bool:
    try:
        folder = Path(entry).resolve()
        return folder == Path.cwd() and folder != ROOT
    except OSError:  # the working directory was removed
        return not entry
