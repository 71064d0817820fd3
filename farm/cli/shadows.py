"""Another package of one of our names that comes first on the path: said by its file, before it fails in odd ways."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from farm.domain.errors import OperationError

HOME: Final = Path(__file__).resolve().parents[2]  # what holds farm, workers and analysis


def refuse_shadow(package: str) -> None:
    """OperationError, naming both files, where ``package`` (workers, analysis) is not the one beside this farm."""
    ours = HOME / package / "__init__.py"
    theirs = _origin(package)
    if theirs is None or not ours.is_file() or theirs == ours.resolve():
        return
    raise OperationError(
        f"{theirs} hides joulefarm's own {package} ({ours}): rename it, or start where it is not the first on the path"
    )


def _origin(package: str) -> Path | None:
    """The file that an import of the package would run, None where there is none."""
    if package in sys.modules:
        file = getattr(sys.modules[package], "__file__", None)
    else:
        spec = find_spec(package)
        file = spec.origin if spec is not None else None
    return None if file is None else Path(file).resolve()
