"""What a run of the benches found as a page of docs/."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

from tests.bench import Row
from tests.bench._history import Run

HEAD = """\
# Benchmarks

What `make bench` found in one run, each figure beside its peer in the same run. A figure without a target is a peer's,
or context. `worse`: by more than a quarter than in the run before on the same machine, where runs differ by a fifth.
Each run is a line of [tests/bench/history.jsonl](../tests/bench/history.jsonl).
"""


@dataclass(frozen=True)
class Line:
    """A row of a bench, how it stands to the run before, and whether that is worse than runs differ."""

    bench: str
    row: Row
    change: str
    worse: bool

    COLUMNS: ClassVar = ("bench", "what", "value", "target", "met", "since the last run", "how")

    def cells(self) -> tuple[str, ...]:
        row = self.row
        target = "" if row.target is None else f"{'≥' if row.at_least else '≤'} {_number(row.target)} {row.unit}"
        met = "" if row.target is None else ("yes" if row.met else "NO")
        since = f"{self.change} worse" if self.worse else self.change
        return self.bench, row.name, f"{_number(row.value)} {row.unit}", target, met, since, row.how


def document(run: Run, lines: Sequence[Line], before: Run | None) -> str:
    """docs/benchmarks.md."""
    promised = [line for line in lines if line.row.target is not None]
    missed = [line for line in promised if not line.row.met]
    worse = [line for line in lines if line.worse]
    parts = [
        HEAD,
        f"{run.date[:10]}, {f'commit {run.commit}, ' if run.commit else ''}{run.machine}.",
        f"{len(promised) - len(missed)} of {len(promised)} targets met.",
        "" if before is None else f"Compared with {before.date[:10]}: {len(worse)} of {len(lines)} worse.",
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    for bench, of_bench in groupby(lines, key=lambda line: line.bench):
        text += f"\n## {bench.replace('_', ' ').capitalize()}\n\n| {' | '.join(Line.COLUMNS[1:])} |\n"
        text += "|" + " --- |" * len(Line.COLUMNS[1:]) + "\n"
        text += "".join(f"| {' | '.join(map(_escaped, line.cells()[1:]))} |\n" for line in of_bench)
    return text


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")
