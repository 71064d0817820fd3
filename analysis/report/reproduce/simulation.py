"""The rows that the paper measured and did not publish, simulated."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from analysis import laws
from analysis.fitted import fit_once
from analysis.report.reproduce.rows import SIMULATED
from analysis.table import Table

SIMULATED_GPUS: Final = ("a4000", "a6000")
NOISE: Final = 0.05  # standard deviation of ln E of a simulated row


def with_simulated(table: Table, seed: int = 0) -> Table:
    """Add to the rows the paper's grid on the GPUs that it measured and did not publish, simulated.

    A simulated row is what the law ``work``, fitted to the rows that are there, says of it, times noise of 5 %. It
    carries the flag ``simulated``: what is drawn from it shows how a figure is made, not how a GPU behaves.
    """
    shown = table.where(gpu="a100", dataset="paper") if "paper" in table.names("dataset") else table.where(gpu="a100")
    law = fit_once(laws.DEFAULT, table)
    generator = np.random.default_rng(seed)
    configurations = [
        replace(c, gpu=gpu)
        for gpu in SIMULATED_GPUS
        if gpu not in table.names("gpu")
        for c in shown.configurations()
        if c.model != "qwen"  # does not fit these boards
    ]
    if not configurations:
        return table
    joules = law.forecast(Table.of(configurations)).joules * np.exp(
        NOISE * generator.standard_normal(len(configurations))
    )
    rows = [
        {**c.to_dict(), "energy_joules": float(value), "flags": SIMULATED, "dataset": SIMULATED}
        for c, value in zip(configurations, joules, strict=True)
    ]
    return Table.joined([table, Table.from_rows(rows)])
