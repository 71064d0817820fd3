"""How long a user waits for the command line itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from tests.bench import FARM, Row, median


def rows() -> Iterator[Row]:
    python = median([sys.executable, "-c", "pass"])
    ours = median([FARM, "--help"])
    yield Row("farm --help", ours.seconds, "s", 0.4, "whole process, median of 5")
    yield Row("farm --help / python -c pass", ours.seconds / python.seconds, "x", None, "same run")
