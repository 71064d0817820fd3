"""How an image's work divides into phases (Figure 1 of the paper)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from analysis.report.figures import theme
from analysis.report.figures.render import Picture
from analysis.work import load
from analysis.work import paper as paper_counts
from farm.domain.units import GIGA

SIDES = (256, 512, 768, 1024)


def compute_split(models: Sequence[str], resolutions: Sequence[int] = SIDES, steps: int = 10) -> Picture:
    """GFLOPs of denoising and of text encoding and decoding together, by model and resolution, on a log axis.

    Args:
        models: catalog names whose work is tabulated.
        resolutions: pixels of a square's side.
        steps: denoising steps; the paper draws ten.
    """
    rows = [row for model in models for side in resolutions for row in _rows(model, side, steps)]
    floor = 10.0 ** math.floor(math.log10(min(row["gflops"] for row in rows)))
    ticks_at = theme.ticks(floor, max(row["gflops"] for row in rows))
    parts = ["denoising", "text and decoding"]
    colour = alt.Color(
        "part:N",
        title=None,
        scale=alt.Scale(domain=parts, range=[theme.PHASE_COLOURS["denoise"], theme.PHASE_COLOURS["text"]]),
        legend=alt.Legend(orient="top"),
    )
    x = alt.X("side:O", title="resolution, pixels of a side", axis=alt.Axis(labelAngle=0))
    y = alt.Y(
        "gflops:Q",
        title="GFLOPs of an image",
        scale=alt.Scale(type="log", domainMin=floor),
        axis=alt.Axis(format="~s", values=ticks_at),
    )
    tooltip = ["model:N", "side:O", "part:N", "counted:N", alt.Tooltip("gflops:Q", format=".4s")]
    exact = alt.Chart().transform_filter("datum.counted == 'exact'")
    bars = exact.mark_bar().encode(x=x, xOffset="part:N", y=y, y2=alt.datum(floor), color=colour, tooltip=tooltip)
    ticks = (
        alt.Chart()
        .transform_filter("datum.counted == 'paper'")
        .mark_tick(thickness=2, size=14)
        .encode(x=x, xOffset="part:N", y=y, color=alt.value(theme.GUIDE), tooltip=tooltip)
    )
    share = min(_denoising_share(rows, model, side) for model in models for side in resolutions)
    caption = (
        f"{steps} steps, one image without guidance. Bars: exact counts of this project; ticks: the paper's formulas."
    )
    finding = f"Denoising is at least {share:.0%} of an image's FLOPs at {steps} steps"
    chart = (
        alt.layer(bars, ticks, data=alt.NamedData("rows"))
        .properties(width=180, height=220)
        .facet(facet=alt.Facet("model:N", title=None, sort=list(models)), columns=4)
        .properties(title=alt.TitleParams(finding, subtitle=[caption]))
    )
    return Picture(
        chart=chart, alt=f"{finding}, for {', '.join(models)}.", caption=caption, rows=rows, datasets={"rows": rows}
    )


def _rows(model: str, side: int, steps: int) -> list[dict[str, Any]]:
    work = load.load(model)
    flops = {phase: work.totals(phase, side, side).flops for phase in ("text", "denoise", "decode")}
    counted = {"exact": (steps * flops["denoise"], flops["text"] + flops["decode"])}
    if model in theme.PAPER_MODELS:
        text, decode = paper_counts.text_flops(model), paper_counts.decode_flops(model, side, side)
        if text is not None and decode is not None:
            counted["paper"] = (steps * paper_counts.denoise_flops(model, side, side), text + decode)
    return [
        {"model": model, "side": side, "steps": steps, "counted": by, "part": part, "gflops": value / GIGA}
        for by, values in counted.items()
        for part, value in zip(("denoising", "text and decoding"), values, strict=True)
        if value > 0
    ]


def _denoising_share(rows: Sequence[dict[str, Any]], model: str, side: int) -> float:
    """Of the exact FLOPs of an image."""
    parts = {
        row["part"]: row["gflops"]
        for row in rows
        if (row["model"], row["side"], row["counted"]) == (model, side, "exact")
    }
    return float(parts["denoising"] / sum(parts.values()))
