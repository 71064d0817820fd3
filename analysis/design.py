"""Which configurations to measure next: the most knowledge for the least energy.

Errors of ln E are taken as jointly normal with the covariance that the law ``work`` states. A run of row j would lessen
the variance of row i by K_ij^2 / (K_jj + s^2). Rows are picked one by one, each the largest sum of such gains over all
candidates (I-optimality) by its expected energy to a power below one, and K is conditioned on each pick. Picks that
would take the plan over its allowance of energy wait until nothing else is left. No energy of a candidate is looked at,
and what a pick will show does not matter to K. Gains of this kind are nearly submodular, so that
greed comes close to the best choice: Krause, Singh and Guestrin, JMLR 9 (2008); cost: Krause and Guestrin (2005).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.laws.work.effects import CELL_COLUMNS
from analysis.laws.work.law import WorkLaw
from analysis.table import Floats, Integers, Table
from farm import catalog
from farm.catalog import memory
from farm.domain import Configuration
from farm.domain.errors import RequestError

COST_EXPONENT: Final = 0.25  # 0 would not mind the energy; 1 would pick many cheap rows alike
ALLOWANCE: Final = 0.045  # of the energy of all candidates: a twentieth, less a margin for the error of prediction
MAX_CANDIDATES: Final = 3000  # K of as many rows takes 72 MB
_TO_MEAN: Final = float(np.sqrt(2 / np.pi))  # mean absolute value of a standard normal number

RESOLUTIONS: Final = (256, 512, 768, 1024)
STEPS: Final = (10, 20, 30, 40, 50)
PRECISIONS: Final = ("fp16", "fp32")
PROMPTS: Final = (25, 50, 100)


@dataclass(frozen=True, slots=True)
class Plan:
    """The picks in the order of their worth; the error to expect afterwards on the other candidates, mean and in per
    cent; the energy that the picks are expected to take."""

    configurations: Table
    expected_error_percent: float
    expected_energy_joules: float
    candidates_energy_joules: float  # all candidates together: what the picks save
    error_before_percent: float
    expected_seconds: float  # of the picks, one after the other
    candidates: int  # how many there were to choose from


def plan(
    known: Any,
    candidates: Any = None,
    *,
    model: str | Sequence[str],
    gpu: str | Sequence[str],
    budget: int | None = None,
    joules: float | None = None,
    hours: float | None = None,
    cost_exponent: float = COST_EXPONENT,
) -> Plan:
    """The candidates of some models on some GPUs that are worth measuring next, within every budget that is given.

    Args:
        known: measured rows, maybe none; anything that a law fits. A row that fits leave out, and one that was not
            measured (simulated, estimated), makes nothing known: its configuration may be picked.
        candidates: rows to choose from, less those that the GPU's memory cannot hold; their energies are ignored. By
            default the paper's grid. Of rows that differ in the number of prompts alone, the cheapest stands for all.
        model: catalog name, or several.
        gpu: catalog name, or several.
        budget: configurations in all.
        joules: expected energy of all picks, above idle, at most. Without it, picks beyond ALLOWANCE of the energy of
            all candidates wait until nothing else is left.
        hours: expected time of all picks on their devices, at most.

    Raises:
        RequestError: nothing to choose from, a budget that allows no configuration, an unknown model or GPU, a
            candidate that the model cannot take.
    """
    _check_budgets(budget, joules, hours)
    models, gpus = ([name] if isinstance(name, str) else list(name) for name in (model, gpu))
    models = [catalog.find_model(name).name for name in models]
    gpus = [catalog.find_gpu(name).name for name in gpus]
    choice = [row for pair in product(models, gpus) for row in grid(*pair)] if candidates is None else candidates
    if candidates is None and not choice:
        raise RequestError(
            "gpu", ", ".join(gpus), f"one with the memory that {', '.join(models)} needs, or --candidates"
        )
    rows = Table.of(choice).where(model=models, gpu=gpus)
    law = WorkLaw()
    used = law.usable(known).table
    rows = _runnable(_new(rows, used.where(origin="measured")))
    if not len(rows):
        remedy = "at least one row of this model and GPU that is not yet known and fits its memory"
        raise RequestError("candidates", f"{', '.join(models)} on {', '.join(gpus)}", remedy)
    law.fit(used)
    forecast = law.forecast(rows)
    cost, seconds = forecast.joules, np.asarray(forecast.seconds)
    count, everything = len(rows), float(cost.sum())
    if len(rows) > MAX_CANDIDATES:
        kept = np.sort(np.random.default_rng(0).permutation(len(rows))[:MAX_CANDIDATES])
        rows, cost, seconds = rows.take(kept), cost[kept], seconds[kept]
    covariance, noise = law.error_covariance(rows)
    limit = len(rows) if budget is None else min(budget, len(rows))
    allowance = ALLOWANCE * everything if joules is None and budget is not None else np.inf
    caps = [(cost, joules), (seconds, None if hours is None else 3600 * hours)]
    picks, after = select(
        covariance, noise, cost, limit, allowance, cost_exponent, [(c, cap) for c, cap in caps if cap is not None]
    )
    if not len(picks):
        name, value, least, unit = (
            ("joules", joules, cost.min(), "J") if joules is not None and cost.min() > joules
            else ("hours", hours, seconds.min() / 3600, "h")
        )  # fmt: skip
        raise RequestError(name, value, f"at least {least:.4g} {unit}, what the cheapest candidate is expected to take")
    rest = np.setdiff1d(np.arange(len(rows)), picks)
    return Plan(
        configurations=rows.take(picks),
        expected_error_percent=_error_percent(after[rest] if len(rest) else after[picks], noise),
        expected_energy_joules=float(cost[picks].sum()),
        candidates_energy_joules=everything,
        error_before_percent=_error_percent(np.diag(covariance), noise),
        expected_seconds=float(seconds[picks].sum()),
        candidates=count,
    )


def _check_budgets(budget: int | None, joules: float | None, hours: float | None) -> None:
    if budget is None and joules is None and hours is None:
        raise RequestError("budget", None, "a number of configurations, or --joules or --hours")
    if budget is not None and (isinstance(budget, bool) or budget < 1):
        raise RequestError("budget", budget, "a whole number of at least 1")
    for name, value in (("joules", joules), ("hours", hours)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise RequestError(name, value, "a finite number above 0")


def select(
    covariance: Floats,
    noise: float,
    cost: Floats,
    budget: int,
    allowance: float,
    cost_exponent: float,
    caps: Sequence[tuple[Floats, float]] = (),
) -> tuple[Integers, Floats]:
    """Picks (at most budget,) in order, and the variance (n,) that is left of every row without the noise of a run.

    ``caps`` are amounts (n,) of each row and what all picks may take of them together, which nothing goes over.
    """
    remaining, free = covariance.copy(), np.ones(len(cost), dtype=np.bool_)
    picks: list[int] = []
    for _ in range(budget):
        for amount, cap in caps:
            free &= amount[picks].sum() + amount <= cap
        if not free.any():
            break
        worth = (remaining**2).sum(axis=0) / (np.diag(remaining) + noise) / cost**cost_exponent
        affordable = free & (cost[picks].sum() + cost <= allowance)
        # Where the allowance is spent the cheapest rows go on, since a budget of rows was asked for.
        best = int(np.argmax(np.where(affordable, worth, -cost if not affordable.any() else -np.inf) + _barred(free)))
        picks.append(best)
        free[best] = False
        remaining -= np.outer(remaining[:, best], remaining[best]) / (remaining[best, best] + noise)
    return np.array(picks, dtype=np.int64), np.maximum(np.diag(remaining), 0.0)


def _barred(free: NDArray[np.bool_]) -> Floats:
    return np.where(free, 0.0, -np.inf)


def grid(model: str, gpu: str) -> list[Configuration]:
    """The paper's grid for one model and GPU, less what the model cannot take or the memory not hold."""
    rows = [
        Configuration(
            model=model, gpu=gpu, width=side, height=side, steps=steps, precision=precision, cfg=cfg, prompts=prompts
        )
        for side, steps, precision, cfg, prompts in product(RESOLUTIONS, STEPS, PRECISIONS, (False, True), PROMPTS)
    ]
    return [row for row in rows if memory.objection(row) is None]


def _runnable(rows: Table) -> Table:
    """The rows that the memory holds; RequestError for one that the model cannot take."""
    configurations = list(rows.configurations())
    for configuration in configurations:
        catalog.check(configuration)
    return rows.take(np.array([memory.objection(row) is None for row in configurations], dtype=np.bool_))


def _new(rows: Table, known: Table) -> Table:
    """Rows not yet known: one for each configuration but for the number of prompts, the cheapest."""
    columns = (*CELL_COLUMNS, "steps")
    known_keys = set(_keys(known, columns))
    best: dict[tuple[Any, ...], int] = {}
    prompts = rows.prompts
    for place, key in enumerate(_keys(rows, columns)):
        if key not in known_keys and (key not in best or prompts[place] < prompts[best[key]]):
            best[key] = place
    return rows.take(np.array(sorted(best.values()), dtype=np.int64))


def _keys(table: Table, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    values = (np.asarray(getattr(table, name)).tolist() for name in columns)
    return list(zip(*values, strict=True))


def _error_percent(variance: Floats, noise: float) -> float:
    return float(100 * _TO_MEAN * np.sqrt(variance + noise).mean())
