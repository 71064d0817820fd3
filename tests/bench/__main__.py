"""Run every bench (or those named) and print one table; exit 1 when a target is missed."""

from __future__ import annotations

import importlib
import os
import platform
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent


def main(names: list[str]) -> int:
    available = sorted(p.stem for p in HERE.glob("*.py") if not p.stem.startswith("_"))
    unknown = set(names) - set(available)
    if unknown:
        print(f"no bench {', '.join(sorted(unknown))}; there are: {', '.join(available)}", file=sys.stderr)
        return 2
    console = Console(width=160)
    table = Table(title=f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for column in ("bench", "what", "value", "target", "met", "how"):
        table.add_column(column)
    missed = 0
    for name in names or available:
        print(f"running {name} ...", file=sys.stderr, flush=True)
        for row in importlib.import_module(f"tests.bench.{name}").rows():
            missed += not row.met
            sign = "≥" if row.at_least else "≤"
            target = "" if row.target is None else f"{sign} {row.target:g} {row.unit}"
            met = "" if row.target is None else ("yes" if row.met else "NO")
            table.add_row(name, row.name, f"{row.value:.4g} {row.unit}", target, met, row.how)
    console.print(table)
    return 1 if missed else 0


sys.exit(main(sys.argv[1:]))
