"""Models and GPU types beside each other, at the same settings."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from markupsafe import Markup
from pydantic import BeforeValidator
from starlette.concurrency import run_in_threadpool

from farm import catalog, style
from farm.domain import words
from farm.domain.configuration import PRECISIONS
from farm.domain.errors import RequestError
from farm.web import charts, measured
from farm.web.asking import Asked, Real, asked_by, nothing, refusal_status
from farm.web.knowledge import INSTALL, Known
from farm.web.measured import Measured
from farm.web.site import Here, Page, Site

if TYPE_CHECKING:
    from analysis.predictions import Predictions

router = APIRouter(include_in_schema=False)
PAGE: Final = Page("Compare", "/compare", 2, router)

USUAL: Final[Mapping[str, str]] = {
    "resolution": "1024", "steps": "28", "precision": "fp16", "cfg": "0", "prompts": "1", "batch": "1",
    "sort": "energy",
}  # fmt: skip
SHADES: Final = 8  # of the heat map
LISTED: Final = 20  # lines of the leaderboard until all are asked for
MOST_BYTES: Final = 500_000  # of a table of scores
LAID: Final = 3  # beside each other at most
KEEP_SECONDS: Final = 60.0  # a question that was read
SLIDER: Final = 200  # places of a slider, evenly on a log scale


class Compared(Asked):
    """The settings that all share, what is left out, and what the reader picked."""

    sort: Annotated[Literal["energy", "seconds", "model", "gpu"], BeforeValidator(lambda v: v or "energy")] = "energy"
    max_joules: Real = None
    max_seconds: Real = None
    rows: Annotated[Literal["all"] | None, BeforeValidator(nothing)] = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A model on a GPU type."""

    model: str
    gpu: str
    title: str
    board: str
    joules: float  # of an image, as all below
    low: float
    high: float
    seconds: float | None
    fits: bool
    why: str | None
    shade: int
    on_front: bool
    bar: tuple[float, float, float]  # per cent of the common axis
    tip: str
    rests_on: str

    @property
    def key(self) -> str:
        """What the address calls it."""
        return f"{self.model}@{self.gpu}"


@router.get("/compare")
def compare(request: Request, site: Here) -> Response:
    """Heat map, leaderboard, sliders, front, tray."""
    given = {name: request.query_params.get(name, usual) for name, usual in USUAL.items()}
    picks = list(dict.fromkeys(request.query_params.getlist("pick")))
    view: dict[str, Any] = {"given": given, "precisions": PRECISIONS, "refused": None, "waiting": False, "found": None}
    view |= {"install": INSTALL if site.knowledge.lacking() else None, "picks": picks, "linked": _linked(request)}
    main: Markup | None = None
    if view["install"] is None:
        try:
            asked = asked_by(request, Compared, USUAL)
            if worked := _worked(site, asked):
                main = site.recent(
                    ("compared", worked, request.url.query),
                    lambda: _part(site, view | {"found": _found(worked, asked, picks)}),
                    seconds=KEEP_SECONDS,
                )
        except RequestError as error:
            view["refused"] = error
        view["waiting"] = main is None and view["refused"] is None
    status = refusal_status(request) if view["refused"] else 200
    return site.page(request, "compare.html.j2", status=status, main=main or _part(site, view))


def _part(site: Site, view: Mapping[str, Any]) -> Markup:
    """All below the bar: large, and the same until another law is fitted."""
    return Markup(site.part("compare_main.html.j2", **view))  # noqa: S704 - of a template, which escapes


@dataclass(frozen=True, slots=True)
class Found:
    """Everything there is to compare."""

    models: Sequence[str]
    gpus: Sequence[str]
    cells: Mapping[tuple[str, str], Entry]  # by GPU type and model
    refusals: Mapping[str, str]  # models that cannot make the image, and why
    board: Sequence[Entry]  # of what fits, in order
    count: int  # of what fits
    axis: Sequence[tuple[float, str]]  # ticks of the common axis: per cent, joules
    front: Markup | None
    laid: Sequence[Entry]
    joules: Mapping[str, float]  # of the slider: least, most, chosen
    seconds: Mapping[str, float] | None
    law: str
    level: float


@dataclass(frozen=True, slots=True, eq=False)  # itself stands for what follows from it
class Worked:
    """What the law says of all pairs at the settings asked for, and what was measured at them."""

    answers: Predictions
    entries: Sequence[Entry]
    measured: Mapping[tuple[str, str], Measured]  # by model and GPU type
    refusals: Mapping[str, str]  # models that cannot make the image, and why
    models: Sequence[str]
    gpus: Sequence[str]
    law: str


def _worked(site: Site, asked: Compared) -> Worked | None:
    """None while the law is fitted. All predictions are one call of it."""
    models = asked.names("model") or [name for name, model in catalog.models().items() if not model.video]
    gpus = asked.names("gpu") or [name for name, gpu in catalog.gpus().items() if not gpu.is_processor]
    same = {"max_joules": None, "max_seconds": None, "sort": "energy", "rows": None}  # they change no prediction
    whole = asked.model_copy(update={"model": ",".join(models), "gpu": ",".join(gpus), **same})
    key = ("compare", whole.model_dump_json())
    question = site.recent(key, whole.question, seconds=KEEP_SECONDS)
    known = site.knowledge.known(asked.law)
    if known is None:
        return None

    def work(known: Known) -> Worked:
        answers = whole.answers(known, question.table)
        there = measured.at(known.rows, question.table.configuration(0))
        refusals = {str(entry["model"]): str(entry["why"]) for entry in question.left_out}
        return Worked(answers, _entries(answers), there, refusals, models, gpus, known.fitted.law.name)

    return known.derived(key, work)


def _found(worked: Worked, asked: Compared, picks: Sequence[str]) -> Found:
    from analysis.laws.base import LEVEL

    entries = worked.entries
    fitting = [entry for entry in entries if entry.fits] or entries
    keys = {"energy": lambda e: e.joules, "seconds": lambda e: e.seconds or math.inf,
            "model": lambda e: (e.model, e.joules), "gpu": lambda e: (e.gpu, e.joules)}  # fmt: skip
    ordered = sorted(fitting, key=keys[asked.sort])
    by_key = {entry.key: entry for entry in entries}
    laid = [by_key[key] for key in picks if key in by_key][:LAID]
    low, high = min(e.low for e in fitting), max(e.high for e in fitting)
    axis = charts.Axis(low / 1.05, high * 1.05, 0, 100, log=True)
    times = [e.seconds for e in fitting if e.seconds]
    made = {entry.model for entry in entries}
    return Found(
        models=[name for name in worked.models if name in made],
        gpus=worked.gpus,
        cells={(entry.gpu, entry.model): entry for entry in entries},
        refusals=worked.refusals,
        board=ordered if asked.rows == "all" else ordered[:LISTED],
        count=len(ordered),
        axis=[(axis(tick), words.joules(tick)) for tick in axis.ticks()],
        front=_scatter(fitting, worked.measured),
        laid=laid,
        joules=_slider([e.joules for e in fitting], asked.max_joules),
        seconds=_slider(times, asked.max_seconds) if times else None,
        law=worked.law,
        level=LEVEL if asked.level is None else asked.level,
    )


def _entries(answers: Predictions) -> list[Entry]:
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
    bottom, top = float(energy.low[drawn].min()), float(energy.high[drawn].max())
    axis = charts.Axis(bottom / 1.05, top * 1.05, 0, 100, log=True)
    least, most = float(energy.value[drawn].min()), float(energy.value[drawn].max())
    shades = charts.Axis(least, max(most, least * 1.001), 0, SHADES, log=True)
    entries = []
    for i, c in enumerate(answers.table.configurations()):
        joules, low, high = (float(column[i]) for column in (energy.value, energy.low, energy.high))
        time = float(seconds[i]) if np.isfinite(seconds[i]) else None
        title, board = catalog.model(c.model).title, catalog.gpu(c.gpu).title
        said = f"{title} on {board}\n{words.joules(joules)}, {words.joules(low)} to {words.joules(high)}, predicted"
        said += f"\n{words.seconds(time)} an image" + (f"\ndoes not fit: {answers.fits_why[i]}" if not fits[i] else "")
        entries.append(
            Entry(
                model=c.model, gpu=c.gpu, title=title, board=board, joules=joules, low=low, high=high, seconds=time,
                fits=bool(fits[i]), why=answers.fits_why[i], shade=min(max(int(shades(joules)), 0), SHADES - 1),
                on_front=bool(on_front[i]), bar=(axis(low), axis(joules), axis(high)), tip=said,
                rests_on=answers.rests_on[i],
            )
        )  # fmt: skip
    return entries


def _scatter(entries: Sequence[Entry], there: Mapping[tuple[str, str], Measured]) -> Markup | None:
    """Energy against seconds, of what fits; what was measured is filled."""
    marks = [_mark(e, e.seconds, e.on_front) for e in entries if e.seconds]
    if not marks:
        return None
    best = sum(mark.on_front for mark in marks)
    title = f"{len(marks)} pairs, {best} of them on the front: no other takes less of both"
    filled = [(e, there[e.model, e.gpu]) for e in entries if (e.model, e.gpu) in there]
    marks += [_measured_mark(e, found, found.seconds) for e, found in filled if found.seconds]
    return charts.scatter(marks, title=title, x_label="seconds an image", x_tick=words.seconds)


def _mark(e: Entry, x: float, on_front: bool) -> charts.Mark:
    return charts.Mark(
        x=x,
        y=e.joules,
        seconds=math.nan if e.seconds is None else e.seconds,
        name=f"{e.model} on {e.gpu}",
        tip=e.tip,
        colour=style.colour(e.model),
        shape=style.shape(e.gpu),
        on_front=on_front,
    )


def _measured_mark(e: Entry, found: Measured, x: float) -> charts.Mark:
    tip = f"{e.title} on {e.board}\n{words.joules(found.joules)}, measured: mean of {found.rows} rows"
    if found.seconds:
        tip += f"\n{words.seconds(found.seconds)} an image"
    mark = replace(_mark(e, x, False), y=found.joules, tip=tip, measured=True)
    return mark if found.seconds is None else replace(mark, seconds=found.seconds)


@router.post("/compare/quality")
async def quality(request: Request, site: Here) -> Response:
    """The scatter against a score of a reader's own table, which comes as the body and is not kept."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            break
    return await run_in_threadpool(_scored, request, site, body)


def _scored(request: Request, site: Site, body: bytes) -> Response:
    view: dict[str, Any] = {"refused": None, "scores": [], "by": None, "drawing": None}
    try:
        asked = asked_by(request, Compared, USUAL)
        worked = _worked(site, asked)
        if worked is not None:
            view |= _against(worked, body, request.query_params.get("by"))
    except RequestError as error:
        view["refused"] = error
    status = refusal_status(request) if view["refused"] else 200
    return site.page(request, "compare_quality.html.j2", status=status, **view)


def _against(worked: Worked, body: bytes, by: str | None) -> dict[str, Any]:
    """The scatter of what fits and has a score; more of it is better, less with a minus before its name."""
    from analysis.choices import Quality, with_front

    if len(body) > MOST_BYTES:
        raise RequestError("quality", "the table", f"one of at most {MOST_BYTES:,} bytes")
    if b"/" in body or b"\\" in body:  # a command takes folders for models; a page reads none
        raise RequestError("quality", "a path", "names of the catalog as models")
    with tempfile.TemporaryDirectory(prefix="joulefarm-") as folder:
        file = Path(folder) / "quality.csv"
        file.write_bytes(body)
        try:
            table = Quality.read(file)
        except RequestError as error:
            raise RequestError(error.field, "the table", error.remedy) from None
    name = by or next(iter(table.columns))
    if name.removeprefix("-") not in table.columns:
        raise RequestError("by", name, f"one of {', '.join(table.columns)}")
    answers = with_front(worked.answers, name, table)
    assert answers.score is not None
    assert answers.on_front is not None
    marks = []
    for e, score, best in zip(worked.entries, answers.score.tolist(), answers.on_front.tolist(), strict=True):
        if not e.fits or score != score:
            continue
        marks.append(_mark(e, score, bool(best)))
        if found := worked.measured.get((e.model, e.gpu)):
            marks.append(_measured_mark(e, found, score))
    if not marks:
        raise RequestError("quality", "the table", "rows of what fits a GPU")
    label = name.removeprefix("-")
    count, best = sum(not mark.measured for mark in marks), sum(mark.on_front for mark in marks)
    title = f"{count} pairs, {best} of them on the front of energy and {label}"
    drawing = charts.scatter(marks, title=title, x_label=label, x_tick=lambda value: f"{value:g}", x_log=False)
    return {"scores": list(table.columns), "by": name, "drawing": drawing}


def _slider(values: Sequence[float], chosen: float | None) -> dict[str, float]:
    least, most = min(values), max(values)
    return {"least": least, "most": most, "chosen": most if chosen is None else chosen, "places": SLIDER}


def _linked(request: Request) -> Any:
    """The address with some of its values changed; None takes a value away."""

    def linked(**changes: str | None) -> str:
        pairs = [(k, v) for k, v in request.query_params.multi_items() if k not in changes]
        return "/compare?" + urlencode(pairs + [(k, v) for k, v in changes.items() if v is not None])

    return linked
