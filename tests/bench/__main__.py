"""Run every bench (or those named) and print one table; exit 1 when a target is missed or a bench fails.

``--write``: a whole run becomes docs/benchmarks.md, and a line of the history with which later runs are compared.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import _history
from tests.bench._document import Line, document

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "benchmarks.md"


def main(arguments: list[str]) -> int:
    write, names = "--write" in arguments, [name for name in arguments if name != "--write"]
    available = sorted(p.stem for p in HERE.glob("*.py") if not p.stem.startswith("_"))
    unknown = set(names) - set(available)
    if unknown:
        print(f"no bench {', '.join(sorted(unknown))}; there are: {', '.join(available)}", file=sys.stderr)
        return 2
    if write and names:
        print("--write is of a whole run: name no bench beside it", file=sys.stderr)
        return 2
    machine, lines, failed = _history.Machine.this(), [], []
    before = _history.last(machine)
    for name in names or available:
        print(f"running {name} ...", file=sys.stderr, flush=True)
        try:
            for row in importlib.import_module(f"tests.bench.{name}").rows():
                lines.append(Line(name, row, *_history.change(name, row, before)))
        except Exception:  # one that cannot run keeps no other from it
            traceback.print_exc()
            failed.append(name)
    Console(width=160).print(_table(str(machine), lines))
    for name in failed:
        print(f"bench {name} failed", file=sys.stderr)
    if write and not failed:
        run = _history.Run.of((line.bench, line.row) for line in lines)
        _history.append(run)
        DOCUMENT.write_text(document(run, lines, before))
    return 1 if failed or not all(line.row.met for line in lines) else 0


def _table(title: str, lines: list[Line]) -> Table:
    table = Table(title=title)
    for column in Line.COLUMNS:
        table.add_column(column)
    for line in lines:
        table.add_row(*line.cells())
    return table


sys.exit(main(sys.argv[1:]))
