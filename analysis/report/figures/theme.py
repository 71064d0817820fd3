"""How every figure looks: one colour a model, one shape a GPU type, axes in joules and watt-hours, light and dark.

The colours and shapes themselves are those of :mod:`farm.style`, which the page has too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import altair as alt

from farm.style import (
    COLOURS,
    DARK,
    FONT,
    GUIDE,
    LIGHT,
    PAPER_GPUS,
    PAPER_MODELS,
    PHASE_COLOURS,
    UNMEASURED,
    colour,
    shape,
)  # fmt: skip

__all__ = [
    "COLOURS", "DARK", "FONT", "GUIDE", "LIGHT", "PAPER_GPUS", "PAPER_MODELS", "PHASE_COLOURS", "SIDE", "UNMEASURED",
    "colour", "config", "energy_axis", "gpu_shape", "model_colour", "shape", "ticks",
]  # fmt: skip

SIDE: Final = 320  # pixels of a panel


def model_colour(models: Iterable[str], *, legend: bool = True) -> alt.Color:
    """The colour channel of a field ``model``."""
    names = list(models)
    scale = alt.Scale(domain=names, range=[colour(name) for name in names])
    return alt.Color("model:N", scale=scale, title=None, legend=_legend(len(names)) if legend else None)


def gpu_shape(gpus: Iterable[str], *, legend: bool = True) -> alt.Shape:
    """The shape channel of a field ``gpu``."""
    names = list(gpus)
    scale = alt.Scale(domain=names, range=[shape(name) for name in names])
    return alt.Shape("gpu:N", scale=scale, title=None, legend=_legend(len(names)) if legend else None)


def energy_axis(low: float, high: float, title: str) -> tuple[alt.Scale, alt.Axis]:
    """A logarithmic axis in joules, its ticks labelled in J and, under that, in Wh.

    Args:
        low: smallest energy drawn, J.
        high: largest, J.
        title: what the energy is of; its units are added.
    """
    values = ticks(low, high)
    joules = _prefixed("datum.value", "J")
    watt_hours = _prefixed("datum.value / 3600", "Wh")
    axis = alt.Axis(values=values, labelExpr=f"[{joules}, {watt_hours}]", title=f"{title}, J and Wh", labelOverlap=True)
    return alt.Scale(type="log", domain=[low, high], nice=False), axis


def config(colours: Mapping[str, str] = LIGHT) -> dict[str, Any]:
    """Vega-Lite's configuration for a ground: hairlines, no box, room."""
    ink, quiet, hairline = colours["ink"], colours["quiet"], colours["hairline"]
    return {
        "background": colours["ground"],
        "font": FONT,
        "view": {"stroke": None},
        "axis": {
            "labelColor": quiet, "titleColor": ink, "domainColor": hairline, "tickColor": hairline,
            "gridColor": hairline, "gridWidth": 0.5, "labelFontSize": 11, "titleFontSize": 12,
            "titleFontWeight": "normal", "titlePadding": 8,
        },
        "legend": {"labelColor": ink, "titleColor": ink, "labelFontSize": 12, "symbolSize": 70,
            "symbolBaseFillColor": quiet, "symbolBaseStrokeColor": quiet,
        },
        "title": {
            "color": ink, "subtitleColor": quiet, "fontSize": 14, "fontWeight": 600, "subtitleFontSize": 11,
            "anchor": "start", "frame": "group", "offset": 12,
        },
        "text": {"color": ink},
        "header": {"labelColor": ink, "titleColor": ink, "labelFontSize": 12},
    }  # fmt: skip


def _legend(entries: int) -> alt.Legend:
    return alt.Legend(orient="top", direction="horizontal", columns=min(entries, 4), symbolOpacity=1)


def ticks(low: float, high: float) -> list[float]:
    """Where a logarithmic axis has its labels: decades; halves and fifths of them where there are fewer than three."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    decades = [10.0**power for power in powers if low <= 10.0**power <= high]
    if len(decades) >= 3:
        return decades
    return [factor * 10.0**power for power in powers for factor in (1, 2, 5) if low <= factor * 10.0**power <= high]


def _prefixed(value: str, unit: str) -> str:
    """A Vega expression: the value with an SI prefix, as "10 kJ"."""
    return f"replace(format({value}, '.2~s'), regexp('([a-zA-Zµ]?)$'), ' $1{unit}')"
