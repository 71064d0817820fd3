"""The raw power log of a measurement as a drawing: its windows shaded, idle before and after as the line above which
dynamic energy lies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from markupsafe import Markup, escape

from farm import style
from farm.domain import words
from farm.web.charts import Axis, even_ticks

if TYPE_CHECKING:
    from workers.meters.base import Recording, Span

WIDTH: Final = 760
HEIGHT: Final = 300
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 38
POINTS: Final = 700  # more than the drawing has pixels say nothing
IDLE: Final = "idle"

Series = list[tuple[float, float]]  # seconds, watts


def drawing(data: bytes, idle_watts: float | None) -> Markup | None:
    """What a worker kept, drawn; None where it holds no power over time. ValueError for what cannot be read."""
    from workers.meters.samples import decode_samples  # what a worker wrote, a worker's code reads

    recording, spans = decode_samples(data)
    series = _series(recording)
    if len(series) < 2:
        return None
    start = min(series[0][0], *(span.start for span in spans)) if spans else series[0][0]
    end = max(series[-1][0], *(span.end for span in spans)) if spans else series[-1][0]
    if end <= start:
        return None
    x = Axis(0.0, end - start, LEFT, WIDTH - RIGHT)
    y = Axis(0.0, max(watts for _, watts in series) * 1.08 or 1.0, HEIGHT - BOTTOM, TOP)
    parts = [_window(span, start, x) for span in spans] + [_grid(x, y)]
    thinned = _thinned(series, POINTS)
    line = " ".join(f"{x(time - start):.1f},{y(watts):.1f}" for time, watts in thinned)
    parts.append(f'<polyline class="line" points="{line}"/>')
    parts.append(_idle(spans, series, idle_watts, start, x, y))
    names = list(dict.fromkeys(span.label for span in spans))
    title = f"Power over {words.seconds(end - start)}, with the windows {', '.join(names)}" if names else "Power"
    head = f'<svg class="chart wide" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704 - numbers, and texts that are escaped


def _series(recording: Recording) -> Series:
    """Power by time: as it was read, else what the counter of energy rose by."""
    if recording.power:
        return [(float(time), float(watts)) for time, watts in recording.power]
    series: Series = []
    before: tuple[float, float] | None = None
    for asked, answered, joules in recording.counter:
        now = (asked + answered) / 2
        if before is not None and now > before[0] and joules > before[1]:
            watts = (joules - before[1]) / (now - before[0])
            series += [(before[0], watts), (now, watts)]
        if before is None or joules > before[1]:
            before = (now, joules)
    return series


def _thinned(series: Series, count: int) -> Series:
    """At most about so many points: the least and the greatest of every stretch, so that no peak is lost."""
    if len(series) <= count:
        return series
    size = -(-len(series) * 2 // count)
    kept: Series = []
    for first in range(0, len(series), size):
        part = series[first : first + size]
        kept += sorted({min(part, key=lambda point: point[1]), max(part, key=lambda point: point[1])})
    return kept


def _window(span: Span, start: float, x: Axis) -> str:
    left, right = x(span.start - start), x(span.end - start)
    colour = style.PHASE_COLOURS.get(span.label)
    fill = f' fill="{colour}"' if colour else ""
    tip = escape(f"{span.label}: {words.seconds(span.end - span.start)}")
    place = f'x="{left:.1f}" width="{max(right - left, 0.5):.1f}" y="{TOP}" height="{HEIGHT - BOTTOM - TOP}"'
    return f'<rect class="window {escape(span.label.replace(" ", "-"))}"{fill} {place} data-tip="{tip}"/>'


def _idle(spans: Sequence[Span], series: Series, watts: float | None, start: float, x: Axis, y: Axis) -> str:
    """From the mean power of the first idle window to that of the last; as the measurement states it where the log
    says nothing."""
    ends = [mean for span in spans if span.label == IDLE if (mean := _mean(series, span)) is not None]
    if not ends and watts is None:
        return ""
    first, last = (ends[0], ends[-1]) if ends else (float(watts or 0.0), float(watts or 0.0))
    idle = [span for span in spans if span.label == IDLE]
    left = x(idle[0].start - start) if idle else x.start
    right = x(idle[-1].end - start) if len(idle) > 1 else x.end
    label = words.watts(watts if watts is not None else (first + last) / 2)
    tip = escape(f"idle, with weights resident: {label}")
    line = f'x1="{left:.1f}" x2="{right:.1f}" y1="{y(first):.1f}" y2="{y(last):.1f}"'
    text = f'<text class="name" x="{right:.1f}" y="{y(last) - 6:.1f}" text-anchor="end">idle {escape(label)}</text>'
    return f'<line class="idle" {line} data-tip="{tip}"/>{text}'


def _mean(series: Series, span: Span) -> float | None:
    """Mean over time of the readings that lie within, with those between them."""
    inside = [point for point in series if span.start <= point[0] <= span.end]
    steps = [(b[0] - a[0], (a[1] + b[1]) / 2) for a, b in pairwise(inside) if b[0] > a[0]]
    seconds = sum(length for length, _ in steps)
    return sum(length * watts for length, watts in steps) / seconds if seconds else None


def _grid(x: Axis, y: Axis) -> str:
    parts = []
    for value in even_ticks(y.low, y.high):
        at = y(value)
        parts.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{escape(words.watts(value))}</text>')
    for value in even_ticks(x.low, x.high):
        text = escape(words.seconds(value) if value else "0")
        parts.append(f'<text x="{x(value):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{text}</text>')
    return "".join(parts)
