"""What lies around a question: curves over steps and over sizes, and the measured rows that are nearest to it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from farm import catalog
from farm.domain import Configuration, words
from farm.web import charts
from farm.web.measured import per_image

if TYPE_CHECKING:
    from analysis.predictions import Predictions
    from analysis.table import Table

SIDES: Final = (256, 384, 512, 640, 768, 896, 1024, 1280, 1536, 2048)
STEPS: Final = (1, 4, 8, 12, 16, 20, 25, 28, 30, 40, 50)


def over_steps(c: Configuration) -> list[Configuration]:
    """The configuration at other numbers of steps, its own among them, rising."""
    least = catalog.model(c.model).rules(c.size).least_steps
    numbers = sorted({n for n in STEPS if n >= least} | {c.steps} | ({2 * c.steps} if c.steps > 25 else set()))
    return [_with(c, steps=min(n, 1000)) for n in dict.fromkeys(min(n, 1000) for n in numbers)]


def over_sizes(c: Configuration) -> list[Configuration]:
    """The configuration at square sizes that its model takes, its own among them where it is square, rising."""
    rules = catalog.model(c.model).rules(c.size)
    sides = {side for side in SIDES if side <= max(1024, 2 * max(c.width, c.height))}
    sides = {min(side, rules.largest_side or side) // rules.multiple * rules.multiple for side in sides} - {0}
    sides |= {c.width} if c.width == c.height else set()
    return [_with(c, width=side, height=side) for side in sorted(sides)]


def _with(c: Configuration, **values: Any) -> Configuration:
    return Configuration(**{**c.to_dict(), **values})


def curve(answers: Predictions, measured: Table, c: Configuration, axis: str) -> Markup:
    """Joules of an image over steps or over sizes, other settings as asked, with what was measured at them: at a
    precision of as many bits, since another's would stretch the axis until the curve is flat."""
    images = answers.table.prompts
    energy = answers.energy * (1.0 / images)
    same = (measured.precision == "fp32") == (c.precision == "fp32")
    if axis == "steps":
        xs = answers.table.steps.tolist()
        alike = measured.take(same & (measured.width == c.width) & (measured.height == c.height))
        places, asked, label = alike.steps.tolist(), float(c.steps), "steps"
        title, ticks = f"Over steps, at {c.width} x {c.height}", None
    else:
        xs = answers.table.width.tolist()
        alike = measured.take(same & (measured.steps == c.steps))
        places, asked, label = [math.sqrt(p) for p in alike.pixels.tolist()], math.sqrt(c.pixels), "pixels of a side"
        title, ticks = f"Over sizes, in {c.steps} steps", [s for s in (256, 512, 768, 1024, 1536, 2048) if s <= max(xs)]
    points = [
        charts.Point(x, joules, tip, "measured" if batch == c.batch else "near")
        for x, joules, batch, tip in zip(
            places, per_image(alike).tolist(), alike.batch.tolist(), _tips(alike), strict=True
        )
    ]
    p = answers.take([xs.index(asked)]) if asked in xs else None
    if p is not None:
        joules = float((p.energy.value / p.table.prompts)[0])
        points.append(charts.Point(asked, joules, f"asked: {words.joules(joules)}, predicted", "asked"))
    columns = (energy.value.tolist(), energy.low.tolist(), energy.high.tolist())
    return charts.curve(xs, *columns, points, title=title, label=label, ticks=ticks)


def nearest(rows: Table, c: Configuration) -> Table:
    """Measured rows with guidance as asked, less what is spoiled or unknown, those at settings most alike first."""
    import numpy as np

    known = ~rows.spoiled & np.isfinite(per_image(rows))
    rows = rows.take(known & (rows.cfg == c.cfg) & (rows.size == c.size) & (rows.frames == c.frames))
    far = np.abs(np.log(rows.pixels * rows.steps / (c.pixels * c.steps)))
    far += 0.1 * (rows.precision != c.precision) + 0.1 * np.abs(np.log(rows.batch / c.batch))
    return rows.take(np.argsort(far, kind="stable"))


def _tips(rows: Table) -> list[str]:
    tips = []
    for r, joules, name, idle in zip(
        rows.configurations(), per_image(rows).tolist(), rows.dataset.tolist(), rows.includes_idle.tolist(), strict=True
    ):
        tip = f"{words.joules(joules)} measured: {r.width} x {r.height}, {r.steps} steps, {r.precision}"
        tip += f", {r.batch} at once" if r.batch > 1 else ""
        tips.append(f"{tip}\n{name or 'unnamed'}{', less idle power' if idle else ''}")
    return tips
