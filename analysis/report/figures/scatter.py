"""Actual against predicted energy, with the residuals under it (Figures 2 to 5, 7 and 8 of the paper)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from analysis.report.figures import theme
from analysis.report.figures.render import Picture
from analysis.table import DataError
from analysis.validation import Validation
from farm.domain.words import significant

BAND = 0.1  # drawn about the identity
BAND_OPACITY = 0.15
NAMED = 4  # models that a title names
MARGIN = 1.4  # factor of free room around the points


@dataclass(frozen=True, slots=True)
class Panel:
    """One scatter of a figure: a heading and the rows that a law predicted."""

    heading: str
    outcome: Validation
    simulated_datasets: tuple[str, ...] = ()  # whose rows are simulated, flag or not


def actual_against_predicted(
    outcome: Validation, *, side: int = round(1.3 * theme.SIDE), bare: bool = False
) -> Picture:
    """Log axes in J and Wh, the identity line, a band of 10 %, the law's interval at each point, residuals under it.
    DataError where there is no row.

    Args:
        outcome: what is drawn.
        side: of the square, pixels; letters stay as they are.
        bare: without heading and legend, for a page that writes its own.
    """
    return scatters([Panel("" if bare else finding(outcome), outcome)], title="", side=side, legend=not bare)


def scatters(
    panels: Sequence[Panel],
    *,
    title: str,
    caption: str = "",
    columns: int = 3,
    side: int = theme.SIDE,
    legend: bool = True,
) -> Picture:
    """Several scatters on the same axes.

    Args:
        panels: at least one, each with at least one row.
        title: the figure's; empty where the panel's heading says all.
        caption: rows, law, source, in words.
        columns: panels beside each other.
        side: of a panel, pixels.
        legend: of models and GPU types, above the panels.
    """
    if not panels or any(not len(panel.outcome.table) for panel in panels):
        raise DataError("rows", 0, "rows to draw")
    records = {f"panel{i}": _records(panel) for i, panel in enumerate(panels)}
    rows = [record for panel_records in records.values() for record in panel_records]
    energies = [row[name] for row in rows for name in ("measured", "predicted")]
    ends = (min(energies) / MARGIN, max(energies) * MARGIN)
    worst = max(15.0, *(abs(row["residual"]) for row in rows)) * 1.1
    models = sorted({row["model"] for row in rows}, key=_paper_first)
    gpus = sorted({row["gpu"] for row in rows})
    marks = {"color": theme.model_colour(models, legend=legend), "shape": theme.gpu_shape(gpus, legend=legend)}
    charts = [
        _panel(panel.heading, name, records[name], ends, worst, marks, side)
        for panel, name in zip(panels, records, strict=True)
    ]
    chart = alt.vconcat(
        *(alt.hconcat(*charts[i : i + columns], spacing=28) for i in range(0, len(charts), columns)), spacing=28
    )
    origins = sorted({row["origin"] for row in rows} - {"measured"})
    marked = f"{' and '.join(origins)} rows in gray" if origins else ""
    heading = ". ".join(filter(None, [title, marked])) if title else marked
    if heading or caption:
        chart = chart.properties(title=alt.TitleParams(heading, subtitle=caption.splitlines() if caption else []))
    errors = "; ".join(finding(panel.outcome) for panel in panels)
    return Picture(
        chart=chart.resolve_scale(color="shared", shape="shared"),
        alt=f"Predicted against measured energy on logarithmic axes, with the identity line. {errors}.",
        caption=caption,
        rows=rows,
        datasets={**records, **_guides(ends)},
    )


def _guides(ends: tuple[float, float]) -> dict[str, list[dict[str, float]]]:
    """Identity and band, zero and tolerance."""
    return {
        "identity": [{"measured": e, "predicted": e, "low": e * (1 - BAND), "high": e * (1 + BAND)} for e in ends],
        "zero": [{"residual": 0.0, "low": -100 * BAND, "high": 100 * BAND}],
    }


def _panel(
    heading: str,
    data: str,
    records: Sequence[dict[str, Any]],
    ends: tuple[float, float],
    worst: float,
    marks: Mapping[str, Any],
    side: int,
) -> alt.VConcatChart:
    """The scatter of the data set of that name, and its residuals."""
    origins = sorted({row["origin"] for row in records}, key=lambda name: name != "measured")
    words = " and ".join(origins)
    scale, axis = theme.energy_axis(*ends, f"{words} energy")
    y_scale, y_axis = theme.energy_axis(*ends, "predicted energy")
    x = alt.X("measured:Q", scale=scale, axis=axis)
    y = alt.Y("predicted:Q", scale=y_scale, axis=y_axis)
    line, zero_line = alt.NamedData("identity"), alt.NamedData("zero")
    band = (
        alt.Chart(line)
        .mark_area(color=theme.GUIDE, opacity=BAND_OPACITY, clip=True)
        .encode(x=x, y=alt.Y("low:Q", scale=y_scale), y2="high:Q")
    )
    identity = alt.Chart(line).mark_line(color=theme.GUIDE, strokeWidth=1, clip=True).encode(x=x, y=y)
    intervals = (
        alt.Chart(alt.NamedData(data))
        .mark_rule(strokeWidth=0.7, opacity=0.5, clip=True)
        .encode(x=x, y=alt.Y("low:Q", scale=y_scale, axis=y_axis), y2="high:Q", color=marks["color"])
    )
    points = _points(data, origins, 34, x=x, y=y, **marks)
    main = alt.layer(band, identity, intervals, *points).properties(width=side, height=side, title=heading)
    residual = alt.Y(
        "residual:Q", scale=alt.Scale(domain=[-worst, worst]), axis=alt.Axis(title="off by, %", tickCount=5)
    )
    bare_axis = alt.X("measured:Q", scale=scale, axis=alt.Axis(values=axis.values, labels=False, title=None))
    zero = alt.Chart(zero_line).mark_rule(color=theme.GUIDE).encode(y=residual)
    tolerance = alt.Chart(zero_line).mark_rect(color=theme.GUIDE, opacity=BAND_OPACITY).encode(y="low:Q", y2="high:Q")
    under = alt.layer(tolerance, zero, *_points(data, origins, 22, x=bare_axis, y=residual, **marks))
    return alt.vconcat(main, under.properties(width=side, height=round(side / 4)), spacing=8)


def _points(data: str, origins: Sequence[str], size: int, **encoding: Any) -> list[alt.Chart]:
    """The points as layers: filled where measured, gray inside with an outline where simulated or estimated."""
    looks: list[tuple[str, dict[str, Any]]] = []
    if set(origins) - {"measured"}:
        looks.append(("datum.origin != 'measured'", {"filled": False, "fill": theme.UNMEASURED}))
    if "measured" in origins:
        looks.append(("datum.origin == 'measured'", {"filled": True}))
    return [
        alt.Chart(alt.NamedData(data))
        .transform_filter(condition)
        .mark_point(size=size, opacity=0.9, strokeWidth=1.2, clip=True, **look)
        .encode(**encoding, tooltip=_tooltip())
        for condition, look in looks
    ]


def _tooltip() -> list[alt.Tooltip]:
    joules = [alt.Tooltip(f"{name}:Q", title=f"{name}, J", format=".4s") for name in ("measured", "predicted")]
    names = ("model", "gpu", "resolution", "steps", "precision", "cfg", "prompts", "dataset", "origin", "row")
    return [
        *joules,
        alt.Tooltip("residual:Q", title="off by, %", format="+.1f"),
        *(alt.Tooltip(f"{name}:N") for name in names),
    ]


def _records(panel: Panel) -> list[dict[str, Any]]:
    """A mapping a row, for the picture and for the CSV beside it."""
    outcome, table = panel.outcome, panel.outcome.table
    origins, datasets, identities = table.origin, table.dataset, table.measurement_id
    records = []
    for i, c in enumerate(table.configurations()):
        measured, predicted = float(outcome.measured_joules[i]), float(outcome.predicted_joules[i])
        records.append(
            {
                "panel": panel.heading,
                "model": c.model,
                "gpu": c.gpu,
                "resolution": f"{c.width}x{c.height}",
                "steps": c.steps,
                "precision": c.precision,
                "cfg": c.cfg,
                "prompts": c.prompts,
                "batch": c.batch,
                "measured": measured,
                "predicted": predicted,
                "low": float(outcome.low_joules[i]),
                "high": float(outcome.high_joules[i]),
                "residual": 100 * (predicted / measured - 1),
                "dataset": str(datasets[i]),
                "origin": "simulated" if datasets[i] in panel.simulated_datasets else str(origins[i]),
                "row": str(identities[i]),
            }
        )
    return records


def finding(outcome: Validation) -> str:
    """What the picture shows, in words: "flux held out: 4.9% mean error, 80 rows"."""
    error = outcome.metrics["mape_percent"]
    few = len(outcome.test) <= NAMED
    models = ", ".join(outcome.test) if few else f"{len(outcome.test)} models"
    fitted = set(outcome.train) & set(outcome.test)
    how = models if fitted else f"{models} held out" if few else f"{models}, each held out"
    said = "unknown" if error is None or not math.isfinite(error) else f"{significant(error, 2)}%"
    return f"{how}: {said} mean error, {len(outcome.table)} rows"


def _paper_first(model: str) -> tuple[int, str]:
    known = theme.PAPER_MODELS
    return (known.index(model) if model in known else len(known), model)
