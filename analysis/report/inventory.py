"""The part of the report on the rows themselves: which there are, how good they are, where they were measured."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any, Final

import numpy as np

from analysis import laws, validation
from analysis.report import figures
from analysis.report.document import Block, Grid, Paragraph
from analysis.table import Table
from farm import catalog
from farm.domain import SPOILING_FLAGS
from farm.domain.errors import RequestError
from farm.domain.row import REAL
from farm.domain.words import significant

# What a row states beside its configuration.
_BESIDE: Final = dict.fromkeys(("energy_joules", "dataset", "measurement_id", "flags", "includes_idle", "meter", *REAL))


def summary(table: Table, source: str) -> str:
    """Say in a line how many rows there are, of what, and from where."""
    if not len(table):
        return f"From {source}: no rows yet."
    counts = Counter(table.origin.tolist())
    said = " and ".join(f"{count} {origin}" for origin, count in sorted(counts.items()))
    models, gpus = len(table.names("model")), len(table.names("gpu"))
    words = f"{said} rows of {counted(models, 'model')} on {counted(gpus, 'GPU type')}"
    return f"From {source}: {words}. Energies are of the GPU, above idle, unless a row says that idle is in it."


def rows_csv(table: Table) -> str:
    """Write the rows that the document rests on as CSV, numbered, with all that a law may fit."""
    columns = {name: [_cell(value) for value in getattr(table, name).tolist()] for name in _BESIDE}
    dates = [None if math.isnan(day) else str(date(1970, 1, 1) + timedelta(day)) for day in table.measured_day.tolist()]
    beside = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return figures.csv_text(
        [
            {"row": number, **c.to_dict(), **values, "measured_at": measured_at}
            for number, (c, values, measured_at) in enumerate(
                zip(table.configurations(), beside, dates, strict=True), start=1
            )
        ]
    )


def _cell(value: Any) -> Any:
    """A value as a row's cell has it: empty for a number that is not known."""
    if isinstance(value, bool):
        return int(value)
    return None if isinstance(value, float) and math.isnan(value) else value


def datasets(table: Table) -> Grid:
    """List the data sets, by origin, with their rows."""
    lines = []
    for origin in sorted(set(table.origin.tolist())):
        for dataset in table.where(origin=origin).names("dataset"):
            rows = table.where(origin=origin, dataset=dataset)
            names = [", ".join(rows.names(column)) for column in ("model", "gpu", "precision")]
            lines.append([dataset or "unnamed", origin, str(len(rows)), str(int(rows.spoiled.sum())), *names])
    return Grid(["data set", "origin", "rows", "spoiled", "models", "GPUs", "precisions"], lines)


def coverage(table: Table) -> Grid:
    """Count the rows of each model on each GPU type."""
    gpus = table.names("gpu")
    lines = [
        [model, *(str(int(((table.model == model) & (table.gpu == gpu)).sum())) for gpu in gpus)]
        for model in table.names("model")
    ]
    return Grid(["model", *gpus], lines)


def quality(table: Table) -> Iterable[Block]:
    """List the flags, and the parts of a row's uncertainty."""
    counts = Counter(flag for text in table.flags.tolist() for flag in text.split())
    lines = [
        [flag, str(count), "left out of fits" if flag in SPOILING_FLAGS else "kept"]
        for flag, count in sorted(counts.items())
    ]
    yield Grid(["flag", "rows", "what follows"], lines) if lines else Paragraph("No row carries a flag.")
    budget = [["scatter of rows about the law work, same model and GPU", _scatter(table)]]
    std = table.energy_std_joules / table.energy_joules
    known = np.isfinite(std) & (table.energy_joules > 0)
    if known.any():
        budget.append(["what meters state of a row (median)", f"{100 * float(np.median(std[known])):.2g}%"])
    yield Paragraph("Parts of the uncertainty, standard deviations of ln E:")
    yield Grid(["part", "size"], budget)


def _scatter(table: Table) -> str:
    try:
        rows = table.where(origin="measured") if "measured" in table.origin else table
        outcome = validation.in_sample(laws.get(laws.DEFAULT)(), rows)
    except RequestError:
        return "unknown"
    return f"{outcome.scatter_percent:.2g}%" if len(outcome.table) else "unknown"


def environment(table: Table) -> Grid:
    """List the GPU types with what rows state of them: idle watts, seconds."""
    seconds = table.duration_seconds
    lines = []
    for gpu in table.names("gpu"):
        rows = table.gpu == gpu
        idle = table.idle_watts[rows & np.isfinite(table.idle_watts)]
        watts = f"{significant(float(np.median(idle)))} W" if len(idle) else "unknown"
        timed = int(np.isfinite(seconds[rows]).sum())
        title = catalog.gpu(gpu).title if gpu in catalog.gpus() else "not in the catalog"
        lines.append([gpu, title, str(int(rows.sum())), watts, str(timed)])
    return Grid(["GPU", "board", "rows", "idle, median", "rows with seconds"], lines)


def counted(number: int, noun: str) -> str:
    """A number with its noun, which has an s but for one."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
