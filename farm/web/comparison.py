"""Models and GPU types at one setting: what the law says of each pair, what was measured of it, drawings of both."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from markupsafe import Markup

from farm import catalog, style
from farm.domain import words
from farm.domain.errors import RequestError
from farm.web import charts
from farm.web.measured import Measured

if TYPE_CHECKING:
    from analysis.choices import Quality
    from analysis.predictions import Predictions

SHADES: Final = 8  # of the heat map
MOST_BYTES: Final = 500_000  # of a table of scores


@dataclass(frozen=True, slots=True)
class Pair:
    """A model on a GPU type, with what the law says of an image."""

    model: str
    gpu: str
    title: str  # of the model
    board: str  # the title of the GPU type
    joules: float
    low: float
    high: float
    seconds: float | None
    fits: bool
    why: str | None  # it does not fit
    shade: int  # of the heat map, 0 to SHADES - 1
    on_front: bool  # no other takes less of both energy and time
    bar: tuple[float, float, float]  # low, joules and high in per cent of the common axis
    tip: str
    rests_on: str

    @property
    def key(self) -> str:
        """What the address calls it."""
        return f"{self.model}@{self.gpu}"

    def mark(self, x: float, on_front: bool) -> charts.Mark:
        """Its mark in a scatter of energy against another number."""
        return charts.Mark(
            x=x,
            y=self.joules,
            seconds=math.nan if self.seconds is None else self.seconds,
            name=f"{self.model} on {self.gpu}",
            tip=self.tip,
            colour=style.colour(self.model),
            shape=style.shape(self.gpu),
            on_front=on_front,
        )

    def measured_mark(self, measured: Measured, x: float) -> charts.Mark:
        """The mark of what was measured of it."""
        tip = f"{self.title} on {self.board}\n{words.joules(measured.joules)}, measured: mean of {measured.rows} rows"
        if measured.seconds:
            tip += f"\n{words.seconds(measured.seconds)} an image"
        mark = replace(self.mark(x, False), y=measured.joules, tip=tip, measured=True)
        return mark if measured.seconds is None else replace(mark, seconds=measured.seconds)


@dataclass(frozen=True, slots=True, eq=False)  # itself stands for what follows from it
class Comparison:
    """What the law says of all pairs at the settings asked for, and what was measured at them."""

    answers: Predictions
    pairs: Sequence[Pair]  # of the answers, in their order
    measured: Mapping[tuple[str, str], Measured]  # by model and GPU type
    refusals: Mapping[str, str]  # models that cannot make the image, and why
    models: Sequence[str]
    gpus: Sequence[str]
    law: str

    @property
    def fitting(self) -> Sequence[Pair]:
        """The pairs that fit the memory; all where none does."""
        return [pair for pair in self.pairs if pair.fits] or self.pairs


def pairs_of(answers: Predictions) -> list[Pair]:
    """A pair for each answer. The heat map and the common axis span those that fit, or all where none does."""
    import numpy as np

    from analysis.choices import front

    images = answers.table.prompts
    energy = answers.energy * (1.0 / images)
    seconds = answers.seconds.value / images
    fits = np.array([value is not False for value in answers.fits], dtype=np.bool_)
    on_front = np.zeros(len(answers), dtype=np.bool_)
    timed = fits & np.isfinite(seconds)
    on_front[timed] = front(energy.value[timed], seconds[timed])
    drawn = fits if fits.any() else ~fits
    axis = common_axis(float(energy.low[drawn].min()), float(energy.high[drawn].max()))
    least, most = float(energy.value[drawn].min()), float(energy.value[drawn].max())
    shades = charts.Axis(least, max(most, least * 1.001), 0, SHADES, log=True)
    pairs = []
    for i, c in enumerate(answers.table.configurations()):
        joules, low, high = (float(column[i]) for column in (energy.value, energy.low, energy.high))
        time = float(seconds[i]) if np.isfinite(seconds[i]) else None
        title, board = catalog.model(c.model).title, catalog.gpu(c.gpu).title
        tip = f"{title} on {board}\n{words.joules(joules)}, {words.joules(low)} to {words.joules(high)}, predicted"
        tip += f"\n{words.seconds(time)} an image" + (f"\ndoes not fit: {answers.fits_why[i]}" if not fits[i] else "")
        pairs.append(
            Pair(
                model=c.model, gpu=c.gpu, title=title, board=board, joules=joules, low=low, high=high, seconds=time,
                fits=bool(fits[i]), why=answers.fits_why[i], shade=min(max(int(shades(joules)), 0), SHADES - 1),
                on_front=bool(on_front[i]), bar=(axis(low), axis(joules), axis(high)), tip=tip,
                rests_on=answers.rests_on[i],
            )
        )  # fmt: skip
    return pairs


def common_axis(low: float, high: float) -> charts.Axis:
    """Of the intervals of all pairs, from the lowest end to the highest: joules on a log scale, as per cent."""
    return charts.Axis(low / 1.05, high * 1.05, 0, 100, log=True)


def against_seconds(comparison: Comparison) -> Markup | None:
    """Energy against seconds, of what fits; what was measured is filled. None where no seconds are known."""
    marks = [pair.mark(pair.seconds, pair.on_front) for pair in comparison.fitting if pair.seconds]
    if not marks:
        return None
    best = sum(mark.on_front for mark in marks)
    title = f"{len(marks)} pairs, {best} of them on the front: no other takes less of both"
    for pair in comparison.fitting:
        measured = comparison.measured.get((pair.model, pair.gpu))
        if measured and measured.seconds:
            marks.append(pair.measured_mark(measured, measured.seconds))
    return charts.scatter(marks, title=title, x_label="seconds an image", x_tick=words.seconds)


def against_score(comparison: Comparison, scores: Quality, name: str) -> Markup:
    """Energy against a score, of what fits and has one; more of it is better, less with a minus before its name.

    RequestError for a name that is none of the scores', or where nothing is left.
    """
    from analysis.choices import with_front

    label = name.removeprefix("-")
    if label not in scores.columns:
        raise RequestError("by", name, f"one of {', '.join(scores.columns)}")
    answers = with_front(comparison.answers, name, scores)
    assert answers.score is not None
    assert answers.on_front is not None
    marks = []
    for pair, score, best in zip(comparison.pairs, answers.score.tolist(), answers.on_front.tolist(), strict=True):
        if not pair.fits or score != score:
            continue
        marks.append(pair.mark(score, bool(best)))
        if measured := comparison.measured.get((pair.model, pair.gpu)):
            marks.append(pair.measured_mark(measured, score))
    if not marks:
        raise RequestError("quality", "the table", "rows of what fits a GPU")
    count, best = sum(not mark.measured for mark in marks), sum(mark.on_front for mark in marks)
    title = f"{count} pairs, {best} of them on the front of energy and {label}"
    return charts.scatter(marks, title=title, x_label=label, x_tick=lambda value: f"{value:g}", x_log=False)


def read_scores(body: bytes) -> Quality:
    """The table of scores that a reader sent. RequestError for what is none, without a path of this machine."""
    from analysis.choices import Quality

    if len(body) > MOST_BYTES:
        raise RequestError("quality", "the table", f"one of at most {MOST_BYTES:,} bytes")
    if b"/" in body or b"\\" in body:  # a command takes folders for models; a page reads none
        raise RequestError("quality", "a path", "names of the catalog as models")
    with tempfile.TemporaryDirectory(prefix="joulefarm-") as folder:
        file = Path(folder) / "quality.csv"
        file.write_bytes(body)
        try:
            return Quality.read(file)
        except RequestError as error:
            raise RequestError(error.field, "the table", error.remedy) from None
