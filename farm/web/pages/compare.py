"""Models and GPU types beside each other, at the same settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from markupsafe import Markup
from pydantic import BeforeValidator

from farm import catalog, style
from farm.domain import words
from farm.domain.configuration import PRECISIONS
from farm.domain.errors import RequestError
from farm.web import charts
from farm.web.asking import Asked, Real, asked_by, nothing, refusal_status
from farm.web.knowledge import INSTALL
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
    if view["install"] is None:
        try:
            asked = asked_by(request, Compared, USUAL)
            view["found"] = _found(site, asked, picks)
        except RequestError as error:
            view["refused"] = error
        view["waiting"] = view["found"] is None and view["refused"] is None
    return site.page(request, "compare.html.j2", status=refusal_status(request) if view["refused"] else 200, **view)


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


def _found(site: Site, asked: Compared, picks: Sequence[str]) -> Found | None:
    """None while the law is fitted. All predictions are one call of it."""
    from analysis.laws.base import LEVEL

    models = asked.names("model") or [name for name, model in catalog.models().items() if not model.video]
    gpus = asked.names("gpu") or [name for name, gpu in catalog.gpus().items() if not gpu.is_processor]
    whole = asked.model_copy(update={"model": ",".join(models), "gpu": ",".join(gpus)})
    same = {"max_joules": None, "max_seconds": None, "sort": "energy", "rows": None}  # they change no prediction
    whole = whole.model_copy(update=same)
    question = site.recent(("question", whole.model_dump_json()), whole.question, seconds=KEEP_SECONDS)
    known = site.knowledge.known()
    if known is None:
        return None
    key = ("compare", whole.model_dump_json())
    entries = known.derived(key, lambda known: _entries(whole.answers(known, question.table)))
    if entries is None:
        return None
    refusals: dict[str, str] = {str(entry["model"]): str(entry["why"]) for entry in question.left_out}
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
        models=[name for name in models if name in made],
        gpus=gpus,
        cells={(entry.gpu, entry.model): entry for entry in entries},
        refusals=refusals,
        board=ordered if asked.rows == "all" else ordered[:LISTED],
        count=len(ordered),
        axis=[(axis(tick), words.joules(tick)) for tick in axis.ticks()],
        front=_scatter(fitting),
        laid=laid,
        joules=_slider([e.joules for e in fitting], asked.max_joules),
        seconds=_slider(times, asked.max_seconds) if times else None,
        law=known.fitted.law.name,
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


def _scatter(entries: Sequence[Entry]) -> Markup | None:
    """Energy against seconds, of what fits."""
    marks = [
        charts.Mark(
            x=e.seconds,
            y=e.joules,
            seconds=e.seconds,
            name=f"{e.model} on {e.gpu}",
            tip=e.tip,
            colour=style.colour(e.model),
            shape=style.shape(e.gpu),
            on_front=e.on_front,
        )
        for e in entries
        if e.seconds
    ]
    if not marks:
        return None
    best = sum(mark.on_front for mark in marks)
    title = f"{len(marks)} pairs, {best} of them on the front: no other takes less of both"
    return charts.scatter(marks, title=title, x_label="seconds an image", x_tick=words.seconds)


def _slider(values: Sequence[float], chosen: float | None) -> dict[str, float]:
    least, most = min(values), max(values)
    return {"least": least, "most": most, "chosen": most if chosen is None else chosen, "places": SLIDER}


def _linked(request: Request) -> Any:
    """The address with some of its values changed; None takes a value away."""

    def linked(**changes: str | None) -> str:
        pairs = [(k, v) for k, v in request.query_params.multi_items() if k not in changes]
        return "/compare?" + urlencode(pairs + [(k, v) for k, v in changes.items() if v is not None])

    return linked
