"""Compare: models and GPU types beside each other, at the same settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from markupsafe import Markup
from pydantic import BeforeValidator
from starlette.concurrency import run_in_threadpool

from farm import catalog
from farm.domain import words
from farm.domain.configuration import PRECISIONS
from farm.domain.errors import RequestError
from farm.web import measured
from farm.web.asking import Asked, Real, asked_by, nothing, refusal_status
from farm.web.comparison import (
    MOST_BYTES,
    Comparison,
    Pair,
    against_score,
    against_seconds,
    common_axis,
    pairs_of,
    read_scores,
)
from farm.web.knowledge import INSTALL, Known
from farm.web.site import Here, Page, Site

router = APIRouter(include_in_schema=False)
PAGE: Final = Page("Compare", "/compare", 2, router)

USUAL: Final[Mapping[str, str]] = {
    "resolution": "1024", "steps": "28", "precision": "fp16", "cfg": "0", "prompts": "1", "batch": "1",
    "sort": "energy",
}  # fmt: skip
ORDERS: Final[Mapping[str, Callable[[Pair], Any]]] = {
    "energy": lambda pair: pair.joules,
    "seconds": lambda pair: pair.seconds or math.inf,
    "model": lambda pair: (pair.model, pair.joules),
    "gpu": lambda pair: (pair.gpu, pair.joules),
}
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


@router.get("/compare")
def compare(request: Request, site: Here) -> Response:
    """Heat map, leaderboard, sliders, front, tray."""
    given = {name: request.query_params.get(name, usual) for name, usual in USUAL.items()}
    picks = list(dict.fromkeys(request.query_params.getlist("pick")))
    view: dict[str, Any] = {"given": given, "precisions": PRECISIONS, "refused": None, "waiting": False, "shown": None}
    view |= {"install": INSTALL if site.knowledge.lacking() else None, "picks": picks, "linked": _linked(request)}
    main: Markup | None = None
    if view["install"] is None:
        try:
            asked = asked_by(request, Compared, USUAL)
            if comparison := _comparison(site, asked):
                main = site.recent(
                    ("compared", comparison, request.url.query),
                    lambda: _part(site, view | {"shown": _shown(comparison, asked, picks)}),
                    seconds=KEEP_SECONDS,
                )
        except RequestError as error:
            view["refused"] = error
        view["waiting"] = main is None and view["refused"] is None
    status = refusal_status(request) if view["refused"] else 200
    return site.page(request, "compare.html.j2", status=status, main=main or _part(site, view))


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
        comparison = _comparison(site, asked_by(request, Compared, USUAL))
        if comparison is not None:
            scores = read_scores(body)
            by = request.query_params.get("by") or next(iter(scores.columns))
            view |= {"scores": list(scores.columns), "by": by, "drawing": against_score(comparison, scores, by)}
    except RequestError as error:
        view["refused"] = error
    status = refusal_status(request) if view["refused"] else 200
    return site.page(request, "compare_quality.html.j2", status=status, **view)


def _part(site: Site, view: Mapping[str, Any]) -> Markup:
    """All below the bar: large, and the same until another law is fitted."""
    return Markup(site.part("compare_main.html.j2", **view))  # noqa: S704 - of a template, which escapes


def _comparison(site: Site, asked: Compared) -> Comparison | None:
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

    def work(known: Known) -> Comparison:
        answers = whole.answers(known, question.table)
        rows = measured.at(known.rows, question.table.configuration(0))
        refusals = {str(entry["model"]): str(entry["why"]) for entry in question.left_out}
        return Comparison(answers, pairs_of(answers), rows, refusals, models, gpus, known.fitted.law.name)

    return known.derived(key, work)


@dataclass(frozen=True, slots=True)
class Shown:
    """A comparison as the reader asked to see it."""

    models: Sequence[str]
    gpus: Sequence[str]
    pairs: Mapping[tuple[str, str], Pair]  # by GPU type and model
    refusals: Mapping[str, str]  # models that cannot make the image, and why
    board: Sequence[Pair]  # of what fits, in order
    count: int  # of what fits
    axis: Sequence[tuple[float, str]]  # ticks of the common axis: per cent, joules
    front: Markup | None
    laid: Sequence[Pair]
    joules: Mapping[str, float]  # of the slider: least, most, chosen
    seconds: Mapping[str, float] | None
    law: str
    level: float


def _shown(comparison: Comparison, asked: Compared, picks: Sequence[str]) -> Shown:
    from analysis.laws.base import LEVEL

    fitting = comparison.fitting
    ordered = sorted(fitting, key=ORDERS[asked.sort])
    by_key = {pair.key: pair for pair in comparison.pairs}
    axis = common_axis(min(pair.low for pair in fitting), max(pair.high for pair in fitting))
    times = [pair.seconds for pair in fitting if pair.seconds]
    answered = {pair.model for pair in comparison.pairs}
    return Shown(
        models=[name for name in comparison.models if name in answered],
        gpus=comparison.gpus,
        pairs={(pair.gpu, pair.model): pair for pair in comparison.pairs},
        refusals=comparison.refusals,
        board=ordered if asked.rows == "all" else ordered[:LISTED],
        count=len(ordered),
        axis=[(axis(tick), words.joules(tick)) for tick in axis.ticks()],
        front=against_seconds(comparison),
        laid=[by_key[key] for key in picks if key in by_key][:LAID],
        joules=_slider([pair.joules for pair in fitting], asked.max_joules),
        seconds=_slider(times, asked.max_seconds) if times else None,
        law=comparison.law,
        level=LEVEL if asked.level is None else asked.level,
    )


def _slider(values: Sequence[float], chosen: float | None) -> dict[str, float]:
    least, most = min(values), max(values)
    return {"least": least, "most": most, "chosen": most if chosen is None else chosen, "places": SLIDER}


def _linked(request: Request) -> Callable[..., str]:
    """Makes the address with some of its values changed; None takes a value away."""

    def linked(**changes: str | None) -> str:
        pairs = [(k, v) for k, v in request.query_params.multi_items() if k not in changes]
        return "/compare?" + urlencode(pairs + [(k, v) for k, v in changes.items() if v is not None])

    return linked
