"""The figures of the paper, from any rows: matplotlib figures without a display, saved as PNG and SVG."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from analysis.metrics import metrics
from analysis.table import DataError, Table
from analysis.validation import Validation
from analysis.work import load
from farm.domain import PHASES
from farm.files.atomic import atomic_write

FORMATS: Final = (".png", ".svg")
DPI: Final = 150
SOFTWARE: Final = "joulefarm"  # in every PNG: by it a later report knows its own figure
# Colour-blind safe: Okabe and Ito, Color Universal Design, 2008.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")


def actual_against_predicted(outcome: Validation) -> Figure:
    """Log axes in joules, the identity line, a band of 10%, a colour a model, and the law's interval at each point
    (Figures 2 to 5, 7 and 8 of the paper). DataError where there is no row."""
    if not len(outcome.table):
        raise DataError("rows", 0, "rows to draw")
    figure = Figure(figsize=(6, 6), layout="constrained")
    axes = figure.add_subplot()
    measured, predicted = outcome.measured_joules, outcome.predicted_joules
    ends = np.array([min(measured.min(), predicted.min()) / 1.5, max(measured.max(), predicted.max()) * 1.5])
    axes.fill_between(ends, ends / 1.1, ends * 1.1, color="0.9", label="±10%")
    axes.plot(ends, ends, color="0.4", linewidth=1, label="identity")
    for place, model in enumerate(outcome.table.names("model")):
        rows = outcome.table.model == model
        spread = [predicted[rows] - outcome.low_joules[rows], outcome.high_joules[rows] - predicted[rows]]
        axes.errorbar(
            measured[rows], predicted[rows], yerr=spread, fmt="o", markersize=4, elinewidth=0.6, alpha=0.8,
            color=COLOURS[place % len(COLOURS)], label=f"{model}, {outcome.level:.0%} interval",
        )  # fmt: skip
    error = metrics(measured, predicted)["mape_percent"]
    axes.set(
        xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="measured energy, J", ylabel="predicted energy, J",
        title=f"law {outcome.law}: mean error {error:.1f}%, {len(measured)} rows",
    )  # fmt: skip
    axes.legend(fontsize="small")
    return figure


def compute_split(models: Sequence[str], resolutions: Sequence[int] = (256, 512, 768, 1024), steps: int = 50) -> Figure:
    """Part of text, denoising and decoding in the exact FLOPs of one image, for each model and resolution (Figure 1).

    Args:
        models: catalog names whose work is tabulated.
        resolutions: pixels of a square's side.
        steps: denoising steps.
    """
    figure = Figure(figsize=(2.6 * len(models) + 1, 3.6), layout="constrained")
    panels = figure.subplots(1, len(models), sharey=True, squeeze=False)[0]
    for axes, model in zip(panels, models, strict=True):
        work = load.load(model)
        flops = np.array(
            [[work.totals(phase, side, side).flops * (steps if phase == "denoise" else 1) for phase in PHASES]
             for side in resolutions]
        )  # fmt: skip
        part = flops / flops.sum(axis=1, keepdims=True) * 100
        floor = np.zeros(len(resolutions))
        for place, phase in enumerate(PHASES):
            axes.bar(
                [str(side) for side in resolutions], part[:, place], bottom=floor, color=COLOURS[place], label=phase
            )
            floor += part[:, place]
        axes.set(title=model, xlabel="resolution, pixels")
    panels[0].set_ylabel(f"part of FLOPs, {steps} steps, %")
    panels[-1].legend(fontsize="small")
    return figure


def relative_energy(table: Table) -> Figure:
    """Energy of every setting of one model relative to its cheapest, against steps: a line for each resolution,
    precision and CFG (Figure 6). DataError unless the rows are of one model, GPU and number of prompts."""
    for column in ("model", "gpu", "prompts"):
        values = np.unique(getattr(table, column))
        if len(values) != 1:
            raise DataError(column, ", ".join(map(str, values)) or "none", "rows of one value")
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.add_subplot()
    cheapest = float(np.nanmin(table.energy_joules))
    for place, side in enumerate(np.unique(table.pixels)):
        for precision in table.names("precision"):
            for cfg in (False, True):
                rows = table.take((table.pixels == side) & (table.precision == precision) & (table.cfg == cfg))
                order = np.argsort(rows.steps)
                axes.plot(
                    rows.steps[order], rows.energy_joules[order] / cheapest,
                    color=COLOURS[place % len(COLOURS)], marker="s" if precision == "fp32" else "o",
                    linestyle="-" if cfg else ":",
                    label=f"{round(side**0.5)} {precision}{' cfg' if cfg else ''}" if len(rows) else None,
                )  # fmt: skip
    axes.set(
        yscale="log", xlabel="denoising steps", ylabel="energy relative to the cheapest",
        title=f"{table.model[0]} on {table.gpu[0]}",
    )  # fmt: skip
    axes.legend(fontsize="x-small", ncols=2)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG that says whose it is."""
    content = BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": SOFTWARE})
    return content.getvalue()


def save(figure: Figure, out: str | Path) -> list[Path]:
    """Write ``out`` (.png or .svg), or both beside each other where it has no such suffix; the paths.

    RequestError where the folder is not there or cannot be written.
    """
    path = Path(out)
    paths = [path] if path.suffix in FORMATS else [path.with_name(path.name + suffix) for suffix in FORMATS]
    with mpl.rc_context({"svg.hashsalt": "joulefarm"}), ExitStack() as all_or_none:  # same figure, same file
        for target in paths:
            metadata: dict[str, Any] = {"Date": None} if target.suffix == ".svg" else {"Software": SOFTWARE}
            file = all_or_none.enter_context(atomic_write(target, "out"))
            figure.savefig(file, format=target.suffix[1:], dpi=DPI, metadata=metadata)
    return paths
