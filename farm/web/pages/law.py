"""The law: how well it follows what was measured, and how well it says what it was not fitted to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request, Response
from markupsafe import Markup, escape

from farm import style
from farm.domain import words
from farm.domain.errors import FarmError, RequestError
from farm.fits import Fits
from farm.web import charts
from farm.web.knowledge import INSTALL, Known
from farm.web.site import Here, Page, Site

if TYPE_CHECKING:
    from analysis.validation import Validation

router = APIRouter(prefix="/law", include_in_schema=False)
PAGE: Final = Page("Law", "/law", 6, router)

DRAWN: Final = 1500  # points of the picture; of more rows, as many spread evenly
SIDE: Final = 280  # pixels of the picture: a phone shows it at its size, wider readers larger
LATEST: Final = 200  # stored fits whose error is drawn
FACTORS: Final = {"model": "models", "gpu": "GPU types", "dataset": "data sets"}
# What a figure's points say of themselves, in the words of its tooltip; the axes repeat the first two.
_POINT: Final = re.compile(r'aria-label="([^"]*off by, %[^"]*)" role="graphics-symbol" aria-roledescription="[^"]*"')
_OTHER: Final = re.compile(r' (aria-label|role|aria-roledescription|aria-hidden)="[^"]*"')


@router.get("")
def law(request: Request, site: Here) -> Response:
    """What the law rests on; its pictures and tables come as parts."""
    view: dict[str, Any] = {"install": INSTALL if site.knowledge.lacking() else None, "known": None, "refused": None}
    if view["install"] is None:
        try:
            view["known"] = site.knowledge.known()
        except RequestError as error:
            view["refused"] = error
    return site.page(request, "law.html.j2", factors=FACTORS, **view)


@router.get("/fitted")
def fitted(request: Request, site: Here) -> Response:
    """Actual against predicted, residuals by factor, coefficients: of the rows that were fitted."""
    return _part(request, site, "law_fitted.html.j2", "fitted", _fitted)


@router.get("/heldout/{factor}")
def heldout(request: Request, site: Here, factor: str) -> Response:
    """Each model, GPU type or data set predicted by a fit to all the others."""
    if factor not in FACTORS:
        raise RequestError("factor", factor, f"one of {', '.join(FACTORS)}")
    return _part(request, site, "law_heldout.html.j2", ("heldout", factor), lambda known: _heldout(known, factor))


@router.get("/history")
def history(request: Request, site: Here) -> Response:
    """The error of stored fits as rows came."""
    key = ("history", Fits(site.store()).mark())  # fits are stored though no row came
    return _part(request, site, "law_history.html.j2", key, lambda known: _history(site, known))


def _part(request: Request, site: Site, template: str, key: Any, work: Callable[[Known], Any]) -> Response:
    """A part of the page that is worked out once a fit; while it is, the part asks again."""
    made, refused = None, None
    try:
        known = site.knowledge.known()
        made = None if known is None else known.derived(key, work, wait=0.3)
    except RequestError as error:
        refused = error
    if made is None:
        return site.page(request, "law_waiting.html.j2", address=request.url.path, refused=refused)
    return site.page(request, template, made=made)


@dataclass(frozen=True, slots=True)
class Fitted:
    """The law and the rows that it was fitted to."""

    finding: str
    picture: Markup
    caption: str
    models: Sequence[str]
    shapes: Mapping[str, str]  # GPU types with the outlines of their marks
    metrics: Mapping[str, float | None]
    coverage: float | None
    factors: Sequence[Sequence[str]]
    head: Sequence[str]
    coefficients: Sequence[Sequence[str]]
    left_out: Sequence[Mapping[str, Any]]


def _fitted(known: Known) -> Fitted:
    from analysis import validation
    from analysis.report import content, figures

    outcome = validation.of_fit(known.fitted.law, known.rows)
    grid = content.coefficient_grid(known.fitted.law.params_, known.fitted.law.params_std_)
    picture, caption = _picture(outcome)
    return Fitted(
        finding=figures.finding(outcome),
        picture=picture,
        caption=caption,
        models=outcome.table.names("model"),
        shapes={gpu: charts.outline(style.shape(gpu)) for gpu in outcome.table.names("gpu")},
        metrics=outcome.metrics,
        coverage=outcome.interval["coverage"],
        factors=list(content.by_factor(outcome)),
        head=grid.head,
        coefficients=grid.lines,
        left_out=known.fitted.law.left_out_,
    )


def _picture(outcome: Validation) -> tuple[Markup, str]:
    """The figure of report and files, for a page: its ground is the page's, its points say their rows."""
    from analysis.report import figures

    count = len(outcome.table)
    shown = outcome if count <= DRAWN else outcome.take([round(i * (count - 1) / (DRAWN - 1)) for i in range(DRAWN)])
    picture = figures.actual_against_predicted(shown, side=SIDE, bare=True)
    text = _POINT.sub(lambda match: f'data-tip="{_tip(match[1])}"', figures.svg(picture))
    text = _OTHER.sub("", text)
    for name, value in style.LIGHT.items():
        text = text.replace(f'"{value}"', f'"var(--{name})"')
    text = re.sub(r"(\d+\.\d{2})\d+", r"\1", text)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{escape(picture.alt)}" ', 1)
    caption = f"{count:,} rows" if count <= DRAWN else f"{DRAWN:,} of {count:,} rows are drawn; numbers are of all"
    return Markup(text), caption  # noqa: S704 - what the renderer wrote, whose texts it escapes


def _tip(label: str) -> str:
    """``measured, J: 1.2k; model: flux; ...`` as lines, without what the axes say already."""
    parts = [part for part in label.split("; ") if not re.match(r"(measured|predicted|residual|row): ", part)]
    return "\n".join(parts)


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The error of each group that was held out, a line each."""

    factor: str  # what they are groups of, as in FACTORS
    lines: Sequence[Sequence[str]]
    refused: Mapping[str, str]


def _heldout(known: Known, factor: str) -> HeldOut:
    from analysis import validation

    outcome = validation.leave_out(known.fitted.law.fresh(), known.rows, factor)
    summary = outcome.summary()
    lines = [_line(name, len(fold.table), fold.metrics, fold.interval) for name, fold in outcome.done.items()]
    lines.append(_line("mean", summary["n_test"], summary["metrics"], summary["interval"]))
    refused = {name: why for name, why in outcome.groups.items() if isinstance(why, str)}
    return HeldOut(factor, lines, refused)


def _line(name: str, rows: int, metrics: Mapping[str, Any], interval: Mapping[str, Any]) -> list[str]:
    coverage = interval["coverage"]
    bias = metrics["bias_percent"]
    return [
        name or "unnamed",
        f"{rows:,}",
        words.percent(metrics["mape_percent"]),
        "unknown" if bias is None else f"{bias:+.2g}%",
        "unknown" if coverage is None else f"{coverage:.0%}",
        words.percent(interval["median_halfwidth_percent"]),
    ]


@dataclass(frozen=True, slots=True)
class Past:
    """A stored fit."""

    fit_id: int
    rows: int
    made: str
    held_out: float | None  # mean error of the models that were held out, each in turn, per cent
    folds: float | None


@dataclass(frozen=True, slots=True)
class History:
    """The stored fits of the widest scope, the oldest first, and their error as a drawing."""

    fits: Sequence[Past]
    drawing: Markup | None


def _history(site: Site, known: Known) -> History:
    try:
        stored = Fits(site.store()).stored(law=known.fitted.law.name)
    except FarmError:
        stored = []
    fits = [_past(row) for row in stored if row["dataset"] == "all"][:LATEST][::-1]
    points = [(past.rows, past.held_out if past.held_out is not None else past.folds) for past in fits]
    drawn = [(float(rows), error) for rows, error in points if error is not None]
    return History(fits, charts.trend(drawn, "Mean error over the rows fitted", "rows") if len(drawn) > 1 else None)


def _past(row: Mapping[str, Any]) -> Past:
    splits = row["metrics"].get("validation") or {}
    errors = {name: summary["metrics"]["mape_percent"] for name, summary in splits.items() if "metrics" in summary}
    held_out = [error for name, error in errors.items() if name.endswith("held out") and error is not None]
    folds = next((error for name, error in errors.items() if name.endswith("folds")), None)
    return Past(
        fit_id=row["id"],
        rows=row["n"],
        made=words.moment(row["created_at"]),
        held_out=sum(held_out) / len(held_out) if held_out else None,
        folds=folds,
    )
