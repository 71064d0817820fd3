"""What an image takes against how long it takes or how good it is: one figure of many predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from farm.domain.errors import RequestError
from farm.domain.units import WATT_HOUR

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from analysis.prediction import Predictions

SUFFIXES: Final = (".png", ".svg", ".html")
LABELLED: Final = 12  # points of a front that are written beside it
_LABELS: Final = {
    "seconds": "seconds an image",
    "grams": "grams of CO2e an image",
}


def check_plot(out: Path) -> None:
    """RequestError for a name of no format that :func:`draw` knows."""
    if out.suffix not in SUFFIXES:
        raise RequestError("plot", str(out), f"a name that ends in {', '.join(SUFFIXES)}")


def draw(answers: Predictions, against: str | None, out: Path) -> None:
    """Write the figure; HTML holds it with the front as a table. RequestError where it cannot be drawn or written."""
    from analysis.report import figures
    from analysis.report.document import Block, Grid, Heading, Paragraph, Picture, to_html
    from farm.files.atomic import atomic_write

    check_plot(out)
    figure = tradeoff(answers, against)
    if out.suffix != ".html":
        figures.save(figure, out)
        return
    chosen = answers if answers.on_front is None else answers.take(answers.on_front)
    lines = [[_name(chosen, place), *_numbers(chosen, place)] for place in range(len(chosen))]
    blocks: list[Block] = [
        Heading("What an image takes", level=1),
        Paragraph(f"{len(answers)} configurations, law {answers.law}, intervals of {answers.level:.0%}."),
        Picture("Energy of an image", figures.png(figure)),
        Heading("The front" if answers.on_front is not None else "All of them"),
        Grid(["configuration", "J an image", "from", "to", "seconds"], lines),
    ]
    with atomic_write(out, "plot") as file:
        file.write_text(to_html(blocks, "What an image takes"), encoding="utf-8")


def tradeoff(answers: Predictions, against: str | None = None) -> Figure:
    """Joules of an image (log, Wh on the other side) against its seconds (log), grams (log) or score, with intervals, a
    colour a model, a mark a GPU type, and the front as a line. RequestError where the other axis is not known."""
    from matplotlib.figure import Figure

    from analysis.report.figures import COLOURS

    name = against or ("score" if answers.score is not None else "seconds")
    images = 1.0 / answers.table.prompts
    energy = answers.energy * images
    x = _other(answers, name)
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.add_subplot()
    marks = "osD^vP*X<>hp"
    gpus = answers.table.names("gpu")
    for place, model in enumerate(answers.table.names("model")):
        for number, gpu in enumerate(gpus):
            rows = (answers.table.model == model) & (answers.table.gpu == gpu) & np.isfinite(x)
            if not rows.any():
                continue
            spread = [energy.value[rows] - energy.low[rows], energy.high[rows] - energy.value[rows]]
            axes.errorbar(
                x[rows], energy.value[rows], yerr=spread, fmt=marks[number % len(marks)], markersize=5, elinewidth=0.6,
                alpha=0.8, color=COLOURS[place % len(COLOURS)], label=f"{model} on {gpu}",
            )  # fmt: skip
    if answers.on_front is not None and answers.on_front.any():
        _draw_front(axes, answers, x, energy.value)
    log = name in _LABELS
    axes.set(
        xscale="log" if log else "linear", yscale="log", xlabel=_LABELS.get(name, f"score {name.removeprefix('-')}"),
        ylabel=f"joules an image, above idle ({answers.level:.0%} interval)",
        title=f"{len(answers)} configurations, law {answers.law}",
    )  # fmt: skip
    other = axes.secondary_yaxis("right", functions=(_watt_hours, _joules))
    other.set_ylabel("Wh an image")
    axes.legend(fontsize="small")
    return figure


def _other(answers: Predictions, name: str) -> Any:
    from analysis.choices import per_image

    if name in _LABELS:
        return per_image(answers, name, "plot").value
    assert answers.score is not None  # marked before: see analysis.choices.with_front
    return answers.score


def _draw_front(axes: Any, answers: Predictions, x: Any, joules: Any) -> None:
    assert answers.on_front is not None
    front = np.flatnonzero(answers.on_front)
    front = front[np.lexsort((joules[front], x[front]))]
    axes.plot(x[front], joules[front], color="black", linewidth=1, label="front", zorder=0)
    for place in front[:LABELLED].tolist():
        axes.annotate(
            _name(answers, place), (x[place], joules[place]), fontsize=6, xytext=(3, 3), textcoords="offset points"
        )


def _watt_hours(joules: Any) -> Any:
    return joules / WATT_HOUR


def _joules(watt_hours: Any) -> Any:
    return watt_hours * WATT_HOUR


def _name(answers: Predictions, place: int) -> str:
    asked = answers[place].configuration
    return f"{asked.label()} {asked.gpu}"


def _numbers(answers: Predictions, place: int) -> list[str]:
    images = int(answers.table.prompts[place])
    energy, seconds = answers.energy, float(answers.seconds.value[place]) / images
    joules = [f"{float(values[place]) / images:.4g}" for values in (energy.value, energy.low, energy.high)]
    return [*joules, "unknown" if np.isnan(seconds) else f"{seconds:.4g}"]
