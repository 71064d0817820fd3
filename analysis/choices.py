"""Which of many predictions to take: those below a limit, in an order, on the front of what cannot be bettered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.predictions import Estimate, Predictions
from analysis.questions import Question
from analysis.table import Floats
from farm import catalog
from farm.domain.errors import RequestError
from farm.domain.parsing import is_absent, parse_real, parse_switch, parse_whole, split_sides
from farm.files.table import read_cells

SORTS: Final = ("energy", "seconds", "grams", "cost")
LIMITS: Final = {"joules": ("energy", "J"), "seconds": ("seconds", "s"), "grams": ("grams", "g")}  # -> measure, unit
AXES: Final = (
    "model", "gpu", "width", "height", "steps", "precision", "cfg", "batch", "prompts", "weights", "size", "seed",
)  # fmt: skip
_NEEDS: Final = {
    "seconds": "a law that knows time, such as work",
    "grams": "--country or --grams-per-kwh beside it, and a law that knows time",
    "cost": "--price beside it, and a law that knows time",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What an image may take at most; with ``sure``, what the upper end of its interval may be."""

    joules: float | None = None
    seconds: float | None = None
    grams: float | None = None
    sure: bool = False

    def __post_init__(self) -> None:
        for name in LIMITS:
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise RequestError(f"max-{name}", value, "a finite number above 0")
        if self.sure and not any(getattr(self, name) is not None for name in LIMITS):
            raise RequestError("sure", True, "a limit that it is about: --max-joules, --max-seconds or --max-grams")

    def objections(self, answers: Predictions) -> dict[int, str]:
        """Which predictions break a limit, by their place, and how. RequestError where all of them do."""
        wrong: dict[int, str] = {}
        for name, (measure, unit) in LIMITS.items():
            most = getattr(self, name)
            if most is None:
                continue
            estimate = per_image(answers, measure, f"max-{name}", most)
            amounts = estimate.high if self.sure else estimate.value
            over = np.flatnonzero(~(amounts <= most)).tolist()
            if len(over) == len(answers):
                end = " at the interval's upper end" if self.sure else ""
                least = float(np.nanmin(amounts))
                remedy = f"at least {least:.4g} {unit} an image{end}, the least of {len(answers)} configurations"
                raise RequestError(f"max-{name}", most, remedy)
            for place in over:
                wrong.setdefault(place, f"{amounts[place]:.4g} {unit} an image, above --max-{name} {most:g}")
        if wrong and len(wrong) == len(answers):
            given = [f"--max-{name} {getattr(self, name):g}" for name in LIMITS if getattr(self, name) is not None]
            raise RequestError("limits", " ".join(given), "limits that one configuration meets at once: none does")
        return wrong


def chosen(
    answers: Predictions,
    question: Question,
    *,
    limits: Limits,
    sort_by: str | None = None,
    pareto: str | None = None,
    quality_file: str | Path | None = None,
) -> tuple[Predictions, list[Mapping[str, Any]]]:
    """The answers that meet the limits, in order, with scores and the front marked; and all that was left out of the
    question, with reasons. The front is of what meets the limits."""
    over = limits.objections(answers)
    keys = answers.configuration_columns() if over else {}
    left_out = list(question.left_out)
    for place, why in over.items():
        asked = {name: values[place] for name, values in keys.items()}
        left_out.append({"row": int(answers.table.number[place]), **asked, "field": "limits", "why": why})
    if over:
        answers = answers.take(~np.isin(np.arange(len(answers)), list(over)))
    quality = None if quality_file is None else Quality.read(quality_file)
    if quality is not None and pareto in (None, "seconds", "grams"):
        answers = replace(answers, score=quality.scores(answers, quality.only_score()))
    if pareto is not None:
        answers = with_front(answers, pareto, quality)
    return (answers if sort_by is None else sort(answers, sort_by)), left_out


def per_image(answers: Predictions, measure: str, option: str, value: Any) -> Estimate:
    """energy, seconds, grams or cost of an image. RequestError, naming the option that asks and its value, where it is
    not known."""
    estimate = answers.measure(measure)
    if np.isnan(estimate.value).any():
        raise RequestError(option, value, _NEEDS.get(measure, "a number that is known"))
    return estimate * (1.0 / answers.table.prompts)


def sort(answers: Predictions, by: str) -> Predictions:
    """The least first, of all prompts of a configuration together."""
    if by not in SORTS:
        raise RequestError("sort", by, f"one of {', '.join(SORTS)}")
    per_image(answers, by, "sort", by)
    return answers.take(np.argsort(answers.measure(by).value, kind="stable"))


def with_front(answers: Predictions, by: str, quality: Quality | None = None) -> Predictions:
    """Marks those that no other betters in both joules and ``by``, of an image: seconds, grams (less is better) or the
    score of a quality table (more is better, less where the name has a minus before it).

    What does not fit its GPU, and what has no score, is on no front.
    """
    if by in ("seconds", "grams"):
        second = per_image(answers, by, "pareto", by).value
    elif quality is None:
        raise RequestError("pareto", by, "seconds, grams, or a column of the table that --quality names")
    else:
        answers = replace(answers, score=quality.scores(answers, by.removeprefix("-")))
        assert answers.score is not None
        second = answers.score if by.startswith("-") else -answers.score
    able = np.array([fits is not False for fits in answers.fits], dtype=np.bool_) & ~np.isnan(second)
    marks = np.zeros(len(answers), dtype=np.bool_)
    first = per_image(answers, "energy", "pareto", by).value
    marks[able] = front(first[able], second[able])
    return replace(answers, on_front=marks)


def front(first: Floats, second: Floats) -> NDArray[np.bool_]:
    """Which of n points no other betters: at most as much in both, and less in one. (n,)"""
    marks = np.zeros(len(first), dtype=np.bool_)
    order = np.lexsort((second, first))
    least = math.inf  # of the second, among all that have less of the first
    start = 0
    while start < len(order):
        end = start
        while end < len(order) and first[order[end]] == first[order[start]]:
            end += 1
        best = second[order[start]]
        if best < least:
            marks[[place for place in order[start:end] if second[place] == best]] = True
            least = float(best)
        start = end
    return marks


@dataclass(frozen=True, slots=True)
class Quality:
    """A user's table: some axes of configurations, and scores beside them."""

    source: str
    axes: tuple[str, ...]
    keys: tuple[tuple[Any, ...], ...]  # one a row, in the order of the axes
    columns: Mapping[str, Sequence[float]]

    @classmethod
    def read(cls, path: str | Path) -> Quality:
        """From a CSV or Parquet file.

        RequestError for one that cannot be read, without an axis or a score, or that says two things of one
        configuration.
        """
        source = str(path)
        cells = read_cells(Path(path), "quality")
        header = [str(name).strip() for name in cells.header]
        rows = [dict(zip(header, row, strict=False)) for row in cells.rows if not all(map(is_absent, row))]
        if not rows:
            raise RequestError("quality", source, "a header and at least one row")
        axes = tuple(
            name for name in AXES if name in header or (name in ("width", "height") and "resolution" in header)
        )
        scores = [name for name in header if name not in (*AXES, "resolution", "frames")]
        if not axes or not scores:
            raise RequestError("quality", source, f"a column of some of {', '.join(AXES)}, and one with a score")
        keys = tuple(_key(row, axes, number) for number, row in enumerate(rows, start=1))
        if len(set(keys)) < len(keys):
            twice = next(number for number, key in enumerate(keys, start=1) if key in keys[: number - 1])
            raise RequestError("quality", source, f"one row a configuration; row {twice} is of one that came before")
        columns = {name: [_score(row.get(name)) for row in rows] for name in scores}
        numeric = {name: values for name, values in columns.items() if None not in values}
        if not numeric:
            raise RequestError("quality", source, f"a score that is a number in every row; has {', '.join(scores)}")
        return cls(source, axes, keys, {name: [v for v in values if v is not None] for name, values in numeric.items()})

    def only_score(self) -> str:
        """The name of the score, where there is one. RequestError where there are several."""
        if len(self.columns) != 1:
            names = ", ".join(self.columns)
            raise RequestError("quality", self.source, f"--pareto with the score that is meant, one of {names}")
        return next(iter(self.columns))

    def scores(self, answers: Predictions, name: str) -> Floats:
        """The score of each prediction, NaN where the table has none. RequestError for another column, or no match."""
        if name not in self.columns:
            raise RequestError(
                "pareto", name, f"seconds, grams, or a score of {self.source}: {', '.join(self.columns)}"
            )
        known = dict(zip(self.keys, self.columns[name], strict=True))
        asked = answers.configuration_columns()
        rows = zip(*(asked[axis] for axis in self.axes), strict=True)
        scores = np.array([known.get(row, math.nan) for row in rows])
        if np.isnan(scores).all():
            remedy = f"rows whose {', '.join(self.axes)} are those of a configuration that is asked for"
            raise RequestError("quality", self.source, remedy)
        return scores


def _key(row: Mapping[str, Any], axes: Sequence[str], number: int) -> tuple[Any, ...]:
    values = dict(row)
    if not is_absent(row.get("resolution")):
        values["width"], values["height"] = split_sides(row["resolution"])
    try:
        return tuple(_axis(axis, values.get(axis)) for axis in axes)
    except RequestError as error:
        raise RequestError(f"quality row {number}, {error.field}", error.value, error.remedy) from None


def _axis(name: str, value: Any) -> Any:
    """A value as a configuration has it."""
    if is_absent(value):
        raise RequestError(name, value, "a value in every row, or no such column")
    if name == "model":
        from analysis.work.models import find

        return find(str(value))
    if name == "gpu":
        return catalog.find_gpu(str(value)).name
    if name == "cfg":
        return parse_switch(name, value)
    return str(value).strip() if name in ("precision", "weights", "size") else parse_whole(name, value)


def _score(value: Any) -> float | None:
    try:
        number = parse_real(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
