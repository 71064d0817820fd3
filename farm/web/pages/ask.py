"""The first page: what an image takes, by one question in one sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from markupsafe import Markup

from farm import catalog
from farm.catalog import memory
from farm.domain import Configuration, words
from farm.domain.configuration import PRECISIONS
from farm.domain.errors import RequestError
from farm.web import charts
from farm.web.asking import Asked, asked_by, refusal_status
from farm.web.curves import SIDES, curve, nearest, over_sizes, over_steps
from farm.web.knowledge import INSTALL, Known
from farm.web.measured import per_image
from farm.web.predicted import predicted_by
from farm.web.site import Here, Page, Site

if TYPE_CHECKING:
    from analysis.predictions import Prediction
    from analysis.table import Table

router = APIRouter(include_in_schema=False)
PAGE: Final = Page("Ask", "/", 1, router)

USUAL: Final[Mapping[str, str]] = {
    "model": "flux", "gpu": "h100", "resolution": "1024", "steps": "28", "precision": "bf16", "cfg": "0",
    "prompts": "1", "batch": "1", "frames": "1", "country": "", "price": "", "pue": "1",
}  # fmt: skip
ROWS_LISTED: Final = 40
PLANNED: Final = 5  # configurations of `farm plan` that would make an answer surer


@router.get("/")
def ask(request: Request, site: Here) -> Response:
    """The question as a sentence of controls, and its answer."""
    given = {name: request.query_params.get(name, usual) for name, usual in USUAL.items()}
    view: dict[str, Any] = {"given": given, "refused": None, "waiting": False, "answer": None}
    view |= {"models": catalog.models(), "gpus": catalog.gpus(), "precisions": PRECISIONS, "sides": SIDES}
    view |= {"countries": [], "install": INSTALL if site.knowledge.lacking() else None}
    if view["install"]:
        return site.page(request, "ask.html.j2", **view)
    from analysis.carbon import places

    view["countries"] = places()
    try:
        asked = asked_by(request, Asked, USUAL)
        view["given"] |= {"model": asked.catalog_name("model"), "gpu": asked.catalog_name("gpu")}
        view["answer"] = _answered(site, asked)
    except RequestError as error:
        view["refused"] = error
    asked_for = {**request.query_params, **view["given"]}
    view["api"] = urlencode({name: value for name, value in asked_for.items() if value and name in Asked.model_fields})
    view["waiting"] = view["answer"] is None and view["refused"] is None
    return site.page(request, "ask.html.j2", status=refusal_status(request) if view["refused"] else 200, **view)


@router.get("/ask/surer")
def surer(request: Request, site: Here) -> Response:
    """What `farm plan` would measure to make the answer surer, as a part of the page."""
    asked = asked_by(request, Asked, {})
    model, gpu = asked.catalog_name("model"), asked.catalog_name("gpu")
    known = site.knowledge.known()
    plan: Any = None
    refused = None
    if known is not None:
        try:
            plan = known.derived(("plan", model, gpu), lambda known: _planned(known, model, gpu))
        except RequestError as error:
            refused = error
    return site.page(
        request,
        "surer.html.j2",
        plan=plan,
        refused=refused,
        model=model,
        gpu=gpu,
        count=PLANNED,
        query=request.url.query,
    )


def _planned(known: Known, model: str, gpu: str) -> Any:
    from analysis import design

    return design.plan(known.rows, None, model=model, gpu=gpu, budget=PLANNED)


@dataclass(frozen=True)
class Answer:
    """What the page says of one configuration."""

    prediction: Prediction
    numbers: Sequence[tuple[str, str, str, str]]  # label, value, interval, note: of an image
    all_images: str  # of all of them, where there are several
    title: str
    gpu: str
    needed: str  # memory
    phases: Markup | None
    steps: Markup
    sizes: Markup
    rows: Sequence[Mapping[str, Any]]  # measured ones of this model on this GPU type, the nearest first
    count: int  # of such rows
    datasets: Sequence[tuple[str, int, str]]  # where the rows of this model on this GPU come from: name, rows, licence
    bar: tuple[float, float, float]  # the interval, per cent of its axis


def _answered(site: Site, asked: Asked) -> Answer | None:
    """None while the law is fitted."""
    from analysis.table import Table

    table = asked.question().table
    if len(table) != 1:
        raise RequestError("question", f"{len(table)} configurations", "one: Compare lays several beside each other")
    asked.terms()
    known = site.knowledge.known(asked.law)
    if known is None:
        return None
    c = table.configuration(0)
    steps, sizes = over_steps(c), over_sizes(c)
    measured = nearest(known.rows.where(model=c.model, gpu=c.gpu), c)
    listed = measured.take(slice(None, ROWS_LISTED))
    answers = asked.answers(known, Table.from_rows([c, *steps, *sizes]))
    first = answers[0]
    ends = [1, 1 + len(steps), 1 + len(steps) + len(sizes)]
    counts = Counter(measured.dataset.tolist())
    return Answer(
        prediction=first,
        numbers=_numbers(first),
        all_images=_all(first),
        title=catalog.model(c.model).title,
        gpu=catalog.gpu(c.gpu).title,
        needed=_memory(c),
        phases=_phases(first),
        steps=curve(answers.take(slice(ends[0], ends[1])), measured, c, "steps"),
        sizes=curve(answers.take(slice(ends[1], ends[2])), measured, c, "sizes"),
        rows=_rows(known, listed),
        count=len(measured),
        datasets=[(name or "unnamed", count, _licence(name)) for name, count in sorted(counts.items())],
        bar=_bar(first),
    )


def _numbers(p: Prediction) -> list[tuple[str, str, str, str]]:
    n = p.configuration.prompts

    def of(name: str, low: str, high: str, unit: Any) -> tuple[str, str]:
        value, bottom, top = (getattr(p, key) for key in (name, low, high))
        if value is None:
            return words.UNKNOWN, ""
        return unit(value / n), words.interval(bottom / n, top / n, p.level, unit)

    energy = of("energy_joules", "low_joules", "high_joules", words.joules)
    watt_hours = of("energy_joules", "low_joules", "high_joules", words.watt_hours)
    with_idle = of("energy_joules_with_idle", "low_joules_with_idle", "high_joules_with_idle", words.joules)[0]
    seconds = of("duration_seconds", "low_seconds", "high_seconds", words.seconds)
    grams = of("grams_co2e", "low_grams_co2e", "high_grams_co2e", words.grams)
    cost = of("cost", "low_cost", "high_cost", words.amount)
    return [
        ("Energy of an image, predicted", *energy, f"above idle; {with_idle} with the board's idle power"),
        ("The same in watt-hours", *watt_hours, ""),
        ("Time of an image", *seconds, "" if p.configuration.batch == 1 else f"{p.configuration.batch} at once"),
        ("CO2e of an image", *grams, p.carbon_source or "name a country"),
        ("Price of an image", *cost, "" if p.cost is not None else "name a price"),
    ]


def _all(p: Prediction) -> str:
    if p.configuration.prompts == 1:
        return ""
    parts = [words.joules(p.energy_joules), words.watt_hours(p.energy_joules), words.seconds(p.duration_seconds)]
    parts += [f"{words.grams(p.grams_co2e)} CO2e"] if p.grams_co2e is not None else []
    parts += [f"{words.amount(p.cost)} for electricity"] if p.cost is not None else []
    return f"All {p.configuration.prompts:,} images: {', '.join(parts)}."


def _memory(c: Configuration) -> str:
    needs, has = memory.estimate_bytes(c) / 1e9, catalog.gpu(c.gpu).memory_bytes / 1e9
    return f"an estimated {needs:.1f} GB of {has:.1f} GB"


def _phases(p: Prediction) -> Markup | None:
    known = [(name, joules) for name, joules in p.phases.items() if joules is not None and joules > 0]
    if not known:
        return None
    total = sum(joules for _, joules in known)
    shares = ", ".join(f"{name} {joules / total:.0%}" for name, joules in known)
    return charts.phases(known, f"By phase: {shares}")


def _bar(p: Prediction) -> tuple[float, float, float]:
    end = 1.1 * p.high_joules / 100
    return p.low_joules / end, p.energy_joules / end, p.high_joules / end


def _rows(known: Known, rows: Table) -> list[dict[str, Any]]:
    """Measured rows with what the law says of each; None where it cannot say."""
    configurations = list(rows.configurations())
    columns = zip(
        configurations,
        rows.dataset.tolist(),
        per_image(rows).tolist(),
        predicted_by(known, configurations),
        strict=True,
    )
    return [
        {
            "configuration": r,
            "dataset": name or "unnamed",
            "joules": joules,
            "predicted": None if forecast is None else forecast.joules / r.prompts,
        }
        for r, name, joules, forecast in columns
    ]


def _licence(dataset: str) -> str:
    from analysis.shipped import LICENCES

    return LICENCES.get(dataset, "measured here" if dataset == "farm" else "imported")
