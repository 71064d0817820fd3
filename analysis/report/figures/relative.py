"""How a model's energy grows with its settings (Figure 6 of the paper)."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from analysis.report.figures import theme
from analysis.report.figures.render import Picture
from analysis.table import DataError, Table
from farm.domain.words import significant, with_prefix

SIDE_COLOURS = ("#56B4E9", "#0072B2", "#E69F00", "#D55E00", "#CC79A7", "#009E73")


def relative_energy(table: Table) -> Picture:
    """Energy of every setting of one model relative to its cheapest, against steps; a line for each resolution, a panel
    for each precision and CFG. DataError unless rows state their energies, and are of one model, GPU and number of
    prompts."""
    table = table.take(np.isfinite(table.energy_joules))
    for column in ("model", "gpu", "prompts"):
        values = np.unique(getattr(table, column))
        if len(values) != 1:
            raise DataError(column, ", ".join(map(str, values)) or "none", "rows of one value")
    cheapest = float(table.energy_joules.min())
    origins = table.origin
    rows: list[dict[str, Any]] = [
        {
            "model": c.model,
            "gpu": c.gpu,
            "resolution": f"{c.width}x{c.height}",
            "pixels": c.width * c.height,
            "steps": c.steps,
            "setting": f"{c.precision}, {'with' if c.cfg else 'without'} guidance",
            "energy_joules": float(table.energy_joules[i]),
            "relative": float(table.energy_joules[i]) / cheapest,
            "origin": str(origins[i]),
        }
        for i, c in enumerate(table.configurations())
    ]
    simulated = sorted({row["origin"] for row in rows} - {"measured"})
    largest = max(row["relative"] for row in rows)
    sides = [text for _, text in sorted({(row["pixels"], row["resolution"]) for row in rows})]
    colour = alt.Color(
        "resolution:N",
        sort=sides,
        scale=alt.Scale(domain=sides, range=[SIDE_COLOURS[i % len(SIDE_COLOURS)] for i in range(len(sides))]),
        title=None,
        legend=None,  # each line is named at its end
    )
    lines = (
        alt.Chart()
        .mark_line(point=alt.OverlayMarkDef(size=30), strokeWidth=1.5)
        .encode(
            x=alt.X("steps:Q", title="denoising steps", axis=alt.Axis(tickMinStep=10)),
            y=alt.Y(
                "relative:Q",
                title=", ".join(["times the cheapest", *simulated]),
                scale=alt.Scale(type="log"),
                axis=alt.Axis(values=theme.ticks(1, largest)),
            ),
            color=colour,
            tooltip=[
                "resolution:N",
                "steps:Q",
                "setting:N",
                alt.Tooltip("relative:Q", format=".3s"),
                "energy_joules:Q",
            ],
        )
    )
    longest = max(row["steps"] for row in rows)
    names = (
        alt.Chart()
        .transform_filter(f"datum.steps == {longest}")
        .mark_text(align="left", dx=7, fontSize=10)
        .encode(x="steps:Q", y="relative:Q", color=colour, text=alt.Text("resolution:N"))
    )
    of = f"{table.model[0]} on {table.gpu[0]}"
    finding = f"{of}: the dearest setting takes {significant(largest)} times the cheapest"
    finding += f" ({', '.join(simulated)})" if simulated else ""
    prompts = int(table.prompts[0])
    caption = f"{len(rows)} rows of {prompts} images; the cheapest takes {with_prefix(cheapest, 'J')}."
    chart = (
        alt.layer(lines, names, data=alt.NamedData("rows"))
        .properties(width=240, height=220)
        .facet(facet=alt.Facet("setting:N", title=None), columns=2)
        .properties(title=alt.TitleParams(finding, subtitle=[caption]))
    )
    return Picture(
        chart=chart,
        alt=f"{finding}; one line for each of {', '.join(sides)}.",
        caption=caption,
        rows=rows,
        datasets={"rows": rows},
    )
