"""The measured rows that ship with the project: data sets of other laboratories, beside every row of one's own.

Sources and licences are in ``data/README.md``. A data set is a name and the files of its rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from analysis.table import Table
from farm.domain import RequestError

DATA: Final = Path(__file__).resolve().parent / "data"
TRANSFORMERS: Final = DATA / "paper_a100_energy.csv"
DATASETS: Final[Mapping[str, tuple[Path, ...]]] = {
    "paper": (TRANSFORMERS, DATA / "paper_a100_energy_sd2.csv"),
    "mlenergy": (DATA / "mlenergy_a100_h100.csv",),
}
LICENCES: Final[Mapping[str, str]] = {
    "paper": "arXiv 2511.17031v2, CC BY 4.0",
    "mlenergy": "ML.ENERGY leaderboard, Apache-2.0",
}
WORDS: Final = "the rows of arXiv 2511.17031v2 and of ML.ENERGY that ship with joulefarm"


def shipped_rows(*names: str) -> Table:
    """The rows of these data sets, of all by default. RequestError for a name that none has."""
    for name in names:
        if name not in DATASETS:
            raise RequestError("dataset", name, f"one of {', '.join(DATASETS)}")
    return _read(names or tuple(DATASETS))


def with_shipped(table: Table) -> Table:
    """Join the rows that ship and, after them, these. A row that ships and is here too, whatever its data set is called
    here, counts once: as the one that is here."""
    rows = shipped_rows()
    known = set(_identities(table))
    fresh = np.array([identity not in known for identity in _identities(rows)], dtype=np.bool_)
    return Table.joined([rows.take(fresh), table])


def _identities(table: Table) -> list[tuple[object, ...]]:
    """What is the same in two copies of one measured row."""
    names = ("model", "gpu", "width", "height", "steps", "precision", "cfg", "prompts", "batch")
    columns = [np.asarray(getattr(table, name)).tolist() for name in names]
    energies = [f"{joules:.6g}" for joules in table.energy_joules.tolist()]
    return list(zip(*columns, energies, strict=True))


@cache
def _read(names: tuple[str, ...]) -> Table:
    return Table.joined([Table.read(file).of_dataset(name) for name in names for file in DATASETS[name]])
