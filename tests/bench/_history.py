"""What earlier runs of the benches found, one line of JSON a run, so that a later one shows what became slower."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from farm.version import commit
from tests.bench import Row

FILE = Path(__file__).with_name("history.jsonl")
SLOWER = 1.25  # times what it was; runs on one machine differ by a fifth


@dataclass(frozen=True)
class Machine:
    """What numbers of speed depend on. Only runs on machines that are described alike are compared."""

    processor: str
    cores: int
    memory_gib: int
    python: str
    system: str

    @classmethod
    def this(cls) -> Self:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        return cls(
            processor=_processor(),
            cores=os.cpu_count() or 1,
            memory_gib=round(memory),
            python=platform.python_version(),
            system=f"{platform.system()} {platform.machine()}",
        )

    def __str__(self) -> str:
        return f"{self.processor}, {self.cores} cores, {self.memory_gib} GiB, {self.system}, Python {self.python}"


@dataclass(frozen=True)
class Run:
    """One run: when, of which commit, where, and each value by ``bench: name``."""

    date: str
    commit: str | None
    machine: Machine
    values: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Iterable[tuple[str, Row]]) -> Self:
        date = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(date, commit(), Machine.this(), {key(bench, row): row.value for bench, row in rows})


def key(bench: str, row: Row) -> str:
    return f"{bench}: {row.name}"


def last(machine: Machine, file: Path = FILE) -> Run | None:
    """The newest run on a machine like this one; None where there was none."""
    runs = [_parsed(line) for line in file.read_text().splitlines()] if file.exists() else []
    return next((run for run in reversed(runs) if run.machine == machine), None)


def append(run: Run, file: Path = FILE) -> None:
    with file.open("a") as out:
        out.write(json.dumps(asdict(run)) + "\n")


def change(bench: str, row: Row, before: Run | None) -> tuple[str, bool]:
    """How a value stands to that of an earlier run, and whether it became worse by more than runs differ."""
    earlier = before.values.get(key(bench, row)) if before else None
    if earlier is None or earlier <= 0 or row.value <= 0:
        return "", False
    ratio = row.value / earlier
    return f"{100 * (ratio - 1):+.0f} %", (1 / ratio if row.at_least else ratio) > SLOWER


def _parsed(line: str) -> Run:
    document: dict[str, Any] = json.loads(line)
    return Run(**{**document, "machine": Machine(**document["machine"])})


def _processor() -> str:
    """The processor's name as the kernel says it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
