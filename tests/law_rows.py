"""Rows for tests of laws: the paper's grid, and energies drawn from Eq. 3 with known coefficients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from analysis.laws.paper.law import gflops
from analysis.table import Table


def grid(
    *,
    models: Sequence[str] = ("flux", "sd35", "qwen"),
    gpus: Sequence[str] = ("a100",),
    resolutions: Sequence[int] = (256, 512, 768, 1024),
    steps: Sequence[int] = (10, 20, 30, 40, 50),
    precisions: Sequence[str] = ("fp16", "fp32"),
    copies: int = 1,
) -> Table:
    """Configurations of the paper's grid with 100 prompts."""
    rows = list(product(models, gpus, resolutions, steps, precisions, (False, True))) * copies
    names = ("model", "gpu", "resolution", "steps", "precision", "cfg")
    columns = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    return Table.from_columns({**columns, "prompts": [100] * len(rows)})


def simulated(
    table: Table,
    truth: Mapping[str, float],
    beta_gpu: Mapping[str, float],
    *,
    noise: float,
    seed: int = 0,
    flags: str = "",
    copies: int = 1,
) -> Table:
    """The table with energies of Eq. 3 and normal noise in ln E; ``copies`` of it, one after the other."""
    table = table[np.tile(np.arange(len(table)), copies)]
    logarithm = (
        truth["ln_a"]
        + truth["alpha"] * np.log(gflops(table) * np.where(table.cfg, 2.0, 1.0))
        + truth["beta_fp32"] * (table.precision == "fp32")
        + truth["beta_res"] * np.log(table.pixels / 256)
        + np.array([beta_gpu[gpu] for gpu in table.gpu.tolist()])
        + np.random.default_rng(seed).normal(0.0, noise, len(table))
    )
    columns = {name: getattr(table, name) for name in ("model", "gpu", "width", "height", "steps", "precision", "cfg")}
    energies = np.exp(logarithm) * 3.6e6
    return Table.from_columns(
        {**columns, "prompts": table.prompts, "energy_joules": energies, "flags": [flags] * len(table)}
    )
