"""Speed, memory and accuracy against a stated target or a peer in the same run: ``make bench``, one table.

A bench is a module here with ``rows() -> Iterator[Row]``. Numbers are medians of whole processes where a process is
what is timed. Nothing here runs in ``make test``: a shared machine is too noisy for a verdict there.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FARM = str(Path(sys.executable).with_name("farm"))


@dataclass(frozen=True)
class Row:
    """One line of the table. ``target`` is an upper bound unless ``at_least``; None: stated without a bound."""

    name: str
    value: float
    unit: str
    target: float | None
    how: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        if self.target is None:
            return True
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass(frozen=True)
class Run:
    seconds: float
    peak_bytes: int


def run(argv: Sequence[str], *, timeout: float = 600, **environment: str) -> Run:
    """One process from start to end: wall seconds and its peak resident memory. Raises when it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(
        argv, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    err = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(f"{' '.join(argv)} ended with status {status}: {err[-500:]}")
    return Run(seconds, _peak(usage))


def median(argv: Sequence[str], *, runs: int = 5, **environment: str) -> Run:
    """Median seconds and greatest peak of several runs after a warm-up."""
    run(argv, **environment)
    done = [run(argv, **environment) for _ in range(runs)]
    return Run(statistics.median(r.seconds for r in done), max(r.peak_bytes for r in done))


def _peak(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * 1024
