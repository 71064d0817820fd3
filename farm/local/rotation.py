"""Logs of `farm up` and of what it starts stay within bounds: a full one is copied away and begun anew."""

from __future__ import annotations

import logging
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

KEPT: Final = 5  # older ones of each, NAME.log.1 the newest of them
LOOKS: Final = 100  # the supervisor's looks between two of these


class Rotation:
    """Every process appends to its own open file, so that the file itself must stay: it is copied, then emptied."""

    def __init__(self, folder: Path, largest_bytes: int) -> None:
        self._folder = folder
        self._largest = largest_bytes
        self._looks = 0

    def look(self) -> None:
        """Rotate what is too long, once in a while."""
        self._looks += 1
        if self._looks % LOOKS == 1:
            self.rotate()

    def rotate(self) -> None:
        """Rotate what is too long now."""
        for log in sorted(self._folder.glob("*.log")):
            try:
                if log.stat().st_size > self._largest:
                    _rotate(log)
            except OSError as error:
                logger.warning("%s: not rotated: %s", log, error.strerror)


def _rotate(log: Path) -> None:
    older = [log.with_name(f"{log.name}.{number}") for number in range(1, KEPT + 1)]
    for source, target in reversed(list(pairwise(older))):
        if source.exists():
            source.replace(target)
    shutil.copyfile(log, older[0])
    with log.open("r+b") as file:
        file.truncate(0)
