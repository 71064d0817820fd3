"""Drawings that a page makes at every request, as SVG in the page: coloured by its style sheet, text as text.

What is drawn once a fit is an Altair figure of analysis.report.figures instead. A mark says its number by ``data-tip``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup, escape

from farm import style
from farm.domain import words

WIDTH: Final = 380  # a phone's; wider readers see it larger
HEIGHT: Final = 240
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 26, 38
ROUND: Final = 6  # ticks of an axis, at most


@dataclass(frozen=True, slots=True)
class Axis:
    """Numbers on a stretch of the drawing, evenly or by decades."""

    low: float
    high: float
    start: float  # where low is, in the drawing's units
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        if self.log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + (self.end - self.start) * share

    def ticks(self) -> list[float]:
        """Round numbers: 1, 2 or 5 of a decade."""
        return log_ticks(self.low, self.high) if self.log else even_ticks(self.low, self.high)


def even_ticks(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, at most ROUND of them."""
    power = 10.0 ** math.floor(math.log10((high - low) / ROUND))
    step = next(power * factor for factor in (1, 2, 5, 10) if (high - low) / (power * factor) <= ROUND)
    first = math.ceil(low / step - 1e-9)
    return [step * place for place in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Decades; with halves and fifths where there are few of them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    decades = [10.0**power for power in powers if low <= 10.0**power <= high]
    if len(decades) >= 3:
        return decades
    return [factor * 10.0**power for power in powers for factor in (1, 2, 5) if low <= factor * 10.0**power <= high]


@dataclass(frozen=True, slots=True)
class Point:
    """A measured row, or the question itself."""

    x: float
    y: float
    tip: str
    style_class: str  # of the style sheet: measured, near, asked


def curve(
    xs: Sequence[float],
    value: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    points: Iterable[Point],
    *,
    title: str,
    label: str,
    tick: Callable[[float], str] = lambda value: f"{value:g}",
    ticks: Sequence[float] | None = None,
) -> Markup:
    """A law's line with the band of its intervals, and points on it. Both axes begin at 0.

    Args:
        xs: rising.
        value, low, high: joules of an image at each.
        points: drawn over the line.
        title: above the drawing; label: of the horizontal axis.
        tick: what a number of that axis reads; ``ticks``: which it has.
    """
    points = list(points)
    top = max([*high, *(point.y for point in points)]) * 1.05
    x = Axis(0, max([*xs, *(point.x for point in points)]), LEFT, WIDTH - RIGHT)
    y = Axis(0, top, HEIGHT - BOTTOM, TOP)
    parts = [_grid(x, y, tick, words.joules, label, ticks)]
    above = [f"{x(a):.1f},{y(b):.1f}" for a, b in zip(xs, high, strict=True)]
    below = [f"{x(a):.1f},{y(b):.1f}" for a, b in zip(xs, low, strict=True)]
    parts.append(f'<polygon class="band" points="{" ".join(above + below[::-1])}"/>')
    line = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(xs, value, strict=True))
    parts.append(f'<polyline class="line" points="{line}"/>')
    for a, b, c, d in zip(xs, value, low, high, strict=True):
        tip = f"{tick(a)} {label}: {words.joules(b)}, {words.joules(c)} to {words.joules(d)}, predicted"
        parts.append(f'<circle class="hit" cx="{x(a):.1f}" cy="{y(b):.1f}" r="7" data-tip="{escape(tip)}"/>')
    for point in points:
        place = f'cx="{x(point.x):.1f}" cy="{y(point.y):.1f}"'
        parts.append(f'<circle class="{point.style_class}" {place} r="4" data-tip="{escape(point.tip)}"/>')
    return _drawing(parts, title)


def scatter(
    points: Sequence[Mark], *, title: str, x_label: str, x_tick: Callable[[float], str], x_log: bool = True
) -> Markup:
    """Joules of an image (log) against another number, the front as a line; colour is the model, shape the GPU."""
    xs, ys = [point.x for point in points], [point.y for point in points]
    width, height = 760, 420
    spread = (max(xs) - min(xs)) * 0.05 or abs(xs[0]) * 0.1 or 1.0
    ends = (min(xs) / 1.3, max(xs) * 1.3) if x_log else (min(xs) - spread, max(xs) + spread)
    x = Axis(*ends, LEFT + 8, width - RIGHT, log=x_log)
    y = Axis(min(ys) / 1.3, max(ys) * 1.3, height - BOTTOM, TOP, log=True)
    parts = [_grid(x, y, x_tick, words.joules, x_label, None)]
    front = sorted((point.x, point.y) for point in points if point.on_front)
    if len(front) > 1:
        parts.append(f'<polyline class="front" points="{" ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in front)}"/>')
    for point in points:
        parts.append(
            f'<path class="dot{" on" if point.on_front else ""}{" measured" if point.measured else ""}" '
            f'd="{outline(point.shape)}" fill="{point.colour}" '
            f'transform="translate({x(point.x):.1f},{y(point.y):.1f})" stroke="{point.colour}" '
            f'data-joules="{point.y:.6g}" data-seconds="{point.seconds:.6g}" data-tip="{escape(point.tip)}"/>'
        )
    placed: list[tuple[float, float]] = []
    for point in points:
        if not point.on_front:
            continue
        a, b = x(point.x), y(point.y)
        if all(abs(b - d) > 13 or abs(a - c) > 150 for c, d in placed):
            placed.append((a, b))
            end = ' text-anchor="end"' if a > width - 170 else ""
            parts.append(
                f'<text class="name" x="{a + (-8 if end else 8):.1f}" y="{b - 7:.1f}"{end}>{escape(point.name)}</text>'
            )
    return _drawing(parts, title, width, height, "chart wide")


@dataclass(frozen=True, slots=True)
class Mark:
    """A prediction in a scatter, or what was measured."""

    x: float
    y: float
    seconds: float  # of an image, NaN where not known
    name: str
    tip: str
    colour: str
    shape: str
    on_front: bool
    measured: bool = False  # filled


def trend(points: Sequence[tuple[float, float]], title: str, label: str) -> Markup:
    """An error in per cent over a growing number (log); at least two points."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x = Axis(min(xs) / 1.1, max(xs) * 1.1, LEFT, WIDTH - RIGHT, log=True)
    y = Axis(0, max(ys) * 1.1 or 1.0, HEIGHT - BOTTOM, TOP)
    parts = [_grid(x, y, lambda value: f"{value:,.0f}", lambda value: f"{value:g}%", label, None)]
    parts.append(f'<polyline class="line" points="{" ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)}"/>')
    for a, b in points:
        tip = escape(f"{a:,.0f} {label}: {words.percent(b)}")
        parts.append(f'<circle class="measured" cx="{x(a):.1f}" cy="{y(b):.1f}" r="3" data-tip="{tip}"/>')
    return _drawing(parts, title)


def drift(
    points: Sequence[tuple[float, float]], limit: float | None, tips: Sequence[str], good: Sequence[bool], title: str
) -> Markup:
    """Deviations in per cent over time (seconds since 1970), at least two, and within which they are none."""
    xs = [x for x, _ in points]
    most = 1.15 * max(limit or 0.0, *(abs(y) for _, y in points)) or 1.0
    x = Axis(xs[0], max(xs[-1], xs[0] + 1.0), LEFT, WIDTH - RIGHT)
    y = Axis(-most, most, HEIGHT - BOTTOM, TOP)
    ends = [xs[0], (xs[0] + xs[-1]) / 2, xs[-1]]
    parts = [_grid(x, y, _day, lambda value: f"{value:+g}%" if value else "0", "", ends)]
    if limit is not None:
        band = f'y="{y(limit):.1f}" width="{x.end - x.start:.1f}" height="{y(-limit) - y(limit):.1f}"'
        parts.append(f'<rect class="band" x="{x.start:.1f}" {band}/>')
    parts.append(f'<polyline class="line" points="{" ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)}"/>')
    for (a, b), tip, fine in zip(points, tips, good, strict=True):
        style_class = "measured" if fine else "bad"
        parts.append(f'<circle class="{style_class}" cx="{x(a):.1f}" cy="{y(b):.1f}" r="4" data-tip="{escape(tip)}"/>')
    return _drawing(parts, title)


def _day(at: float) -> str:
    return words.moment(at)[5:16]


def phases(parts: Sequence[tuple[str, float]], title: str) -> Markup:
    """A bar divided into phases; (name, joules) each."""
    total = sum(joules for _, joules in parts)
    drawn, start = [], 0.0
    for name, joules in parts:
        share = 100 * joules / total
        tip = escape(f"{name}: {words.joules(joules)}, {share:.1f}%")
        drawn.append(
            f'<rect x="{start:.2f}%" y="0" width="{share:.2f}%" height="20" fill="{style.PHASE_COLOURS[name]}" '
            f'data-tip="{tip}"/>'
        )
        start += share
    head = f'<svg class="phases" role="img" aria-label="{escape(title)}" height="20" width="100%">'
    return Markup(head + "".join(drawn) + "</svg>")  # noqa: S704 - numbers, and texts that are escaped


def outline(shape: str, r: float = 4.5) -> str:
    """The path of a mark's shape about the origin."""
    corners: dict[str, list[tuple[float, float]]] = {
        "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
        "triangle-up": [(0, -1.2), (1.1, 0.9), (-1.1, 0.9)],
        "triangle-down": [(0, 1.2), (1.1, -0.9), (-1.1, -0.9)],
        "triangle-right": [(1.2, 0), (-0.9, 1.1), (-0.9, -1.1)],
        "diamond": [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
    }
    if shape in corners:
        return "M" + "L".join(f"{a * r * 0.9:.1f},{b * r * 0.9:.1f}" for a, b in corners[shape]) + "Z"
    if shape == "cross":
        return f"M{-r},{-r / 3}H{-r / 3}V{-r}H{r / 3}V{-r / 3}H{r}V{r / 3}H{r / 3}V{r}H{-r / 3}V{r / 3}H{-r}Z"
    return f"M{-r},0a{r},{r} 0 1,0 {2 * r},0a{r},{r} 0 1,0 {-2 * r},0Z"


def _grid(
    x: Axis,
    y: Axis,
    x_tick: Callable[[float], str],
    y_tick: Callable[[float], str],
    label: str,
    ticks: Sequence[float] | None,
) -> str:
    """Hairlines and their numbers."""
    left, right, bottom = x.start, x.end, y.start
    parts = []
    for value in y.ticks():
        at = y(value)
        parts.append(f'<line class="rule" x1="{left:.1f}" x2="{right:.1f}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{left - 6:.1f}" y="{at + 4:.1f}" text-anchor="end">{escape(y_tick(value))}</text>')
    for value in x.ticks() if ticks is None else ticks:
        at = x(value)
        parts.append(f'<text x="{at:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{escape(x_tick(value))}</text>')
    middle = (left + right) / 2
    parts.append(f'<text x="{middle:.1f}" y="{bottom + 33:.1f}" text-anchor="middle">{escape(label)}</text>')
    return "".join(parts)


def _drawing(
    parts: Sequence[str], title: str, width: int = WIDTH, height: int = HEIGHT, style_class: str = "chart"
) -> Markup:
    head = f'<svg class="{style_class}" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
    head += f'<text class="title" x="0" y="12">{escape(title)}</text>'
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704 - numbers, and texts that are escaped
