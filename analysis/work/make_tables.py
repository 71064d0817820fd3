"""Makes the work tables that ship with the catalog: ``python -m analysis.work.make_tables [MODEL ...]``."""

from __future__ import annotations

import json
import sys
from typing import Final

from analysis.work.load import SHIPPED
from analysis.work.trace.compact import tabulate
from analysis.work.trace.pipeline import from_catalog
from farm import catalog

# Models whose nano sizes `farm demo` measures; those of others are traced when asked for.
DEMONSTRATED: Final = ("flux", "qwen", "sd2", "sd35")


def main(names: list[str]) -> None:
    """Trace these models, or all that ship with a table, and write their tables into the catalog."""
    SHIPPED.mkdir(exist_ok=True)
    for name in names or [*sorted(catalog.models()), *(f"{family}{catalog.NANO}" for family in DEMONSTRATED)]:
        table = tabulate(from_catalog(catalog.build(name)))
        path = SHIPPED / f"{name}.json"
        path.write_text(dumps(table))
        sys.stderr.write(f"{path} {path.stat().st_size} bytes\n")


def dumps(table: dict[str, object]) -> str:
    """JSON with one group of operations a line, so that a change of a table can be read."""
    text = json.dumps(table, separators=(",", ":"))
    return text.replace('{"kind"', '\n{"kind"') + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
