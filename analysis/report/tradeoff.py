"""What an image takes against how long it takes or how good it is: one figure of many predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from farm.domain.errors import RequestError

if TYPE_CHECKING:
    from analysis.predictions import Predictions
    from analysis.report.figures import Picture

SUFFIXES: Final = (".png", ".svg", ".html")
LABELLED: Final = 12  # points of a front that are written beside it
LABEL_ROOM: Final = 0.1  # of ln E between two of them
ROOM: Final = 64  # pixels from the axis to the first point, for its name
_LABELS: Final = {
    "seconds": "seconds an image",
    "grams": "grams of CO2e an image",
}


def _score_title(name: str) -> str:
    column = name.removeprefix("-")
    return column if column == "score" else f"score {column}"


def check_plot(out: Path) -> None:
    """RequestError for a name of no format that :func:`draw` knows."""
    if out.suffix not in SUFFIXES:
        raise RequestError("plot", str(out), f"a name that ends in {', '.join(SUFFIXES)}")


def draw(answers: Predictions, against: str | None, out: Path) -> None:
    """Write the figure, in HTML an interactive one. RequestError where it cannot be drawn or written."""
    from analysis.report import figures

    check_plot(out)
    figures.save(tradeoff(answers, against), out, field="plot")


def tradeoff(answers: Predictions, against: str | None = None) -> Picture:
    """Joules of an image (log, with Wh) against its seconds (log), grams (log) or score, with intervals, a colour a
    model, a shape a GPU type, hollow since predicted, and the front as a line. RequestError where the other axis is not
    known."""
    import altair as alt

    from analysis.report.figures import Picture, theme

    name = against or ("score" if answers.score is not None else "seconds")
    records = _records(answers, _other(answers, name))
    if not records:
        raise RequestError("plot", name, "configurations of which both axes are known")
    low, high = min(r["low_joules"] for r in records), max(r["high_joules"] for r in records)
    energy_scale, energy_axis = theme.energy_axis(low / 1.2, high * 1.2, "predicted energy of an image")
    scale = "log" if name in _LABELS else "linear"
    x = alt.X("other:Q", title=_LABELS.get(name, _score_title(name))).scale(
        type=scale, zero=False, nice=False, padding=ROOM
    )
    y = alt.Y("joules:Q", scale=energy_scale, axis=energy_axis)
    colour = theme.model_colour(answers.table.names("model"))
    points = alt.Chart(alt.NamedData("points"))
    tooltip = [
        alt.Tooltip("configuration:N"),
        *(alt.Tooltip(f"{field}:Q", format=".3s") for field in ("joules", "low_joules", "high_joules", "other")),
    ]
    intervals = points.mark_rule(strokeWidth=0.7, opacity=0.5).encode(
        x=x, y=alt.Y("low_joules:Q", scale=energy_scale, axis=energy_axis), y2="high_joules:Q", color=colour
    )
    marks = points.mark_point(size=45, filled=False, strokeWidth=1.5).encode(
        x=x, y=y, color=colour, shape=theme.gpu_shape(answers.table.names("gpu")), tooltip=tooltip
    )
    layers = [intervals, marks]
    front = [record for record in records if record["on_front"]]
    if front:
        line = points.transform_filter("datum.on_front")
        layers.insert(0, line.mark_line(color=theme.GUIDE, strokeWidth=1).encode(x=x, y=y, order="other:Q"))
        # Of a point that nothing betters, the side of less joules and better others is free.
        less_is_better = name in _LABELS or name.startswith("-")
        align, dx = ("right", -7) if less_is_better else ("left", 7)
        named = points.transform_filter("datum.labelled").mark_text(align=align, dx=dx, dy=10, fontSize=9)
        layers.append(named.encode(x=x, y=y, text="name:N"))
    finding = f"{len(records)} configurations" + (f", {len(front)} of them on the front" if front else "")
    caption = f"Law {answers.law}; bars: intervals of {answers.level:.0%}; energy above idle."
    chart = alt.layer(*layers).properties(width=560, height=400, title=alt.TitleParams(finding, subtitle=[caption]))
    return Picture(
        chart=chart,
        alt=f"{finding}: predicted energy of an image against {_LABELS.get(name, name)}.",
        caption=caption,
        rows=records,
        datasets={"points": records},
    )


def _records(answers: Predictions, other: Any) -> list[dict[str, Any]]:
    """A mapping a configuration whose other axis is known."""
    images = answers.table.prompts
    front = answers.on_front if answers.on_front is not None else np.zeros(len(answers), dtype=np.bool_)
    labelled = _apart(np.flatnonzero(front), answers.energy.value / images)
    energy, names = answers.energy, _names(answers)
    return [
        {
            "configuration": f"{c.label()} {c.gpu}",
            "name": names[i],
            "model": c.model,
            "gpu": c.gpu,
            "joules": float(energy.value[i] / images[i]),
            "low_joules": float(energy.low[i] / images[i]),
            "high_joules": float(energy.high[i] / images[i]),
            "other": float(other[i]),
            "on_front": bool(front[i]),
            "labelled": i in labelled,
        }
        for i, c in enumerate(answers.table.configurations())
        if np.isfinite(other[i])
    ]


def _names(answers: Predictions) -> list[str]:
    """What tells each configuration from the others."""
    varied, _ = answers.varied_and_shared()
    columns = (
        values if name in ("model", "gpu", "pixels", "precision") else [f"{name} {value}" for value in values]
        for name, values in varied.items()
    )
    return [" ".join(map(str, values)) for values in zip(*columns, strict=True)] if varied else [""] * len(answers)


def _apart(rows: Any, joules: Any) -> list[int]:
    """Those of the rows whose names would not lie on each other, at most so many."""
    chosen: list[int] = []
    for row in rows.tolist():
        if all(abs(np.log(joules[row] / joules[other])) > LABEL_ROOM for other in chosen):
            chosen.append(row)
    return chosen[:LABELLED]


def _other(answers: Predictions, name: str) -> Any:
    from analysis.choices import per_image

    if name in _LABELS:
        return per_image(answers, name, "plot", name).value
    assert answers.score is not None  # marked before: see analysis.choices.with_front
    return answers.score
