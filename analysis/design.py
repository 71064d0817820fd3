"""Which configurations to measure next: the most knowledge for the least energy.

Rows are picked one by one as :mod:`analysis.selection` says. Picks that would take the plan over its allowance of
energy wait until nothing else is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np

from analysis.laws.work.law import WorkLaw
from analysis.selection import COST_EXPONENT, Candidates, Selection
from analysis.table import Table
from farm import catalog
from farm.catalog import memory
from farm.domain import Configuration
from farm.domain.errors import RequestError

ALLOWANCE: Final = 0.045  # of the energy of all candidates: a twentieth, less a margin for the error of prediction

RESOLUTIONS: Final = (256, 512, 768, 1024)
STEPS: Final = (10, 20, 30, 40, 50)
PRECISIONS: Final = ("fp16", "fp32")
PROMPTS: Final = (25, 50, 100)


@dataclass(frozen=True, slots=True)
class Batch:
    """Picks that run side by side, at most as many on each GPU type as it has workers."""

    picks: tuple[int, ...]  # places among the plan's configurations
    expected_seconds: float  # until the last of them is done
    expected_error_percent: float  # afterwards


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
    batches: tuple[Batch, ...]  # none where nobody said how many workers there are


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
    workers: Mapping[str, int] | None = None,
) -> Plan:
    """Pick the candidates of some models on some GPUs that are worth measuring next, within every budget that is given.

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
        workers: how many there are of each GPU type: the picks then come in batches that run side by side.

    Raises:
        RequestError: nothing to choose from, a budget that allows no configuration, an unknown model or GPU, a
            candidate that the model cannot take.
    """
    _check_budgets(budget, joules, hours)
    models, gpus = ([name] if isinstance(name, str) else list(name) for name in (model, gpu))
    models = [catalog.find_model(name).name for name in models]
    gpus = [catalog.find_gpu(name).name for name in gpus]
    for name in models:
        if catalog.model(name).video:
            raise RequestError("model", name, f"a model of images: {memory.VIDEO}")
    asked = [row for pair in product(models, gpus) for row in grid(*pair)] if candidates is None else candidates
    if candidates is None and not asked:
        raise RequestError(
            "gpu", ", ".join(gpus), f"one with the memory that {', '.join(models)} needs, or --candidates"
        )
    rows = Table.of(asked).where(model=models, gpu=gpus)
    law = WorkLaw()
    used = law.usable(known).table
    pool = Candidates.of(law.fit(used), runnable(rows), used.where(origin="measured"))
    if not pool.free.any():
        remedy = "at least one row of this model and GPU that is not yet known and fits its memory"
        raise RequestError("candidates", f"{', '.join(models)} on {', '.join(gpus)}", remedy)
    limit = pool.count if budget is None else budget
    allowance = ALLOWANCE * pool.energy_joules if joules is None and budget is not None else np.inf
    selection = pool.selection(
        joules=joules, seconds=None if hours is None else 3600 * hours, allowance=allowance, exponent=cost_exponent
    )
    before = selection.expected_error_percent
    batches = _batches(selection, limit, workers)
    if not selection.picks:
        raise _too_little(pool, joules, hours)
    picks = np.array(selection.picks)
    return Plan(
        configurations=pool.rows.take(picks),
        expected_error_percent=selection.expected_error_percent,
        expected_energy_joules=float(pool.joules[picks].sum()),
        candidates_energy_joules=pool.energy_joules,
        error_before_percent=before,
        expected_seconds=float(pool.seconds[picks].sum()),
        candidates=pool.count,
        batches=batches,
    )


def _check_budgets(budget: int | None, joules: float | None, hours: float | None) -> None:
    if budget is None and joules is None and hours is None:
        raise RequestError("budget", None, "a number of configurations, or --joules or --hours")
    if budget is not None and (isinstance(budget, bool) or budget < 1):
        raise RequestError("budget", budget, "a whole number of at least 1")
    for name, value in (("joules", joules), ("hours", hours)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise RequestError(name, value, "a finite number above 0")


def _too_little(pool: Candidates, joules: float | None, hours: float | None) -> RequestError:
    """Why budgets allow not one candidate."""
    least_joules, least_hours = pool.joules[pool.free].min(), pool.seconds[pool.free].min() / 3600
    for name, value, least, unit in (("joules", joules, least_joules, "J"), ("hours", hours, least_hours, "h")):
        if value is not None and least > value:
            remedy = f"at least {least:.4g} {unit}, what the cheapest candidate is expected to take"
            return RequestError(name, value, remedy)
    return RequestError(
        "joules and hours", f"{joules:g} J, {hours:g} h", "what one candidate is expected to meet at once"
    )


def _batches(selection: Selection, limit: int, workers: Mapping[str, int] | None) -> tuple[Batch, ...]:
    """Pick up to so many rows; in batches, where it is said how many workers there are."""
    if workers is None:
        selection.pick(limit)
        return ()
    batches = []
    while len(selection.picks) < limit:
        start = len(selection.picks)
        selection.pick(limit - start, slots=workers)
        fresh = selection.picks[start:]
        if not fresh:
            break
        longest = float(selection.candidates.seconds[fresh].max())
        batches.append(Batch(tuple(range(start, start + len(fresh))), longest, selection.expected_error_percent))
    return tuple(batches)


def grid(model: str, gpu: str) -> list[Configuration]:
    """List the paper's grid for one model and GPU, less what the model cannot take or the memory not hold."""
    rows = [
        Configuration(
            model=model, gpu=gpu, width=side, height=side, steps=steps, precision=precision, cfg=cfg, prompts=prompts
        )
        for side, steps, precision, cfg, prompts in product(RESOLUTIONS, STEPS, PRECISIONS, (False, True), PROMPTS)
    ]
    return [row for row in rows if memory.objection(row) is None]


def runnable(rows: Table) -> Table:
    """Pick the rows that the memory holds; RequestError for one that the model cannot take."""
    configurations = list(rows.configurations())
    for configuration in configurations:
        catalog.check(configuration)
    return rows.take(np.array([memory.objection(row) is None for row in configurations], dtype=np.bool_))
