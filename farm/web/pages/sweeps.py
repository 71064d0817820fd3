"""Sweeps: how far each is and why it waits, its grid by state, its jobs with every attempt, and what failed and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from starlette.exceptions import HTTPException

from farm.audit import Audit
from farm.domain import Configuration, JobState, RequestError
from farm.domain.job import MAX_JOB_ID, PRIORITIES
from farm.domain.parsing import parse_whole
from farm.domain.times import stated
from farm.measurements import parse
from farm.sweeps import control
from farm.web.site import Here, Page, Site, as_json, shared_json

CARDS: Final = 60  # sweeps on the page
JOBS: Final = 200  # on a page of them
# What a grid point with jobs of several states is shown as: what somebody should look at first.
FIRST: Final = (JobState.FAILED, JobState.RUNNING, JobState.QUEUED, JobState.CANCELLED, JobState.DONE)
POINT: Final = ("model", "gpu", "width", "height", "steps", "precision", "cfg")

Text = Annotated[str | None, Query(max_length=200)]
router = APIRouter()


def _overview(site: Site) -> list[dict[str, Any]]:
    return site.recent("sweeps", lambda: control.overview(site.store()))


def _about(site: Site, name_or_id: str) -> dict[str, Any]:
    """A sweep of `farm sweep list` with what `farm sweep status` says of it."""

    def make() -> dict[str, Any]:
        store = site.store()
        row = control.resolve(store, name_or_id)
        return {**control.listed(store, row), **control.document_of(store, row)}

    return site.recent(("sweep", name_or_id), make)


def _grid(site: Site, sweep_id: int, model: str | None = None, gpu: str | None = None) -> list[dict[str, Any]]:
    return site.recent(
        ("grid", sweep_id, model, gpu), lambda: control.grid(site.store(), sweep_id, model=model, gpu=gpu)
    )


@router.get("/api/sweeps")
def api_sweeps(request: Request, site: Here) -> Response:
    """Every sweep, as `farm sweep list --json` prints them."""
    return shared_json(request, site, "sweeps", lambda: {"sweeps": _overview(site)})


@router.get("/api/sweeps/{sweep}")
def api_sweep(request: Request, site: Here, sweep: str) -> Response:
    """One sweep by id or name, as `farm sweep status --json` prints it, with the points of its grid."""

    def make() -> dict[str, Any]:
        about = _sweep(site, sweep)
        return {**about, "grid": _grid(site, about["sweep"])}

    return shared_json(request, site, ("sweep", sweep), make)


@router.get("/api/jobs/{job_id}")
def api_job(request: Request, site: Here, job_id: int) -> Response:
    """One job with every attempt, as `farm jobs show --json` prints it."""
    return as_json(request, stated(_job(site, job_id)))


@router.get("/api/failures")
def api_failures(request: Request, site: Here) -> Response:
    """Jobs that failed for good, by reason."""

    def make() -> dict[str, Any]:
        return {"failures": [asdict(group) for group in control.why_failed(site.store())]}

    return shared_json(request, site, "failures", make)


@router.get("/sweeps", include_in_schema=False)
def sweeps(request: Request, site: Here) -> Response:
    """A card each, those that are open first."""
    return site.page(request, "sweeps.html.j2")


@router.get("/sweeps/failures", include_in_schema=False)
def failures(request: Request, site: Here) -> Response:
    """What failed, grouped by reason, with the command that tries it again."""
    return site.page(request, "failures.html.j2")


@router.get("/sweeps/{sweep}", include_in_schema=False)
def sweep(request: Request, site: Here, sweep: str, model: Text = None, gpu: Text = None) -> Response:
    """One sweep: how far it is, and its grid for one model on one GPU type."""
    about = _sweep(site, sweep)
    pairs = _pairs(site, about["sweep"])
    wanted = [pair for pair in pairs if model in (None, pair[0]) and gpu in (None, pair[1])]
    chosen = next(iter(wanted or pairs), None)
    grid = None if chosen is None else _panels(site, about["sweep"], *chosen)
    return site.page(
        request, "sweep.html.j2", sweep=about, pairs=pairs, chosen=chosen, panels=grid, priorities=PRIORITIES
    )


@router.get("/jobs", include_in_schema=False)
def jobs(request: Request, site: Here, sweep: Text = None, state: Text = None) -> Response:
    """Jobs of a sweep, or those at one point of its grid."""
    point = {name: request.query_params[name] for name in POINT if name in request.query_params}
    sweep_id = None if sweep is None else _sweep(site, sweep)["sweep"]
    total, rows = Audit(site.store()).jobs(
        state=_state(state), sweep_id=sweep_id, limit=JOBS, point=_parsed(point)
    )  # fmt: skip
    command = f"farm jobs list{f' --sweep {sweep_id}' if sweep_id else ''}{f' --state {state}' if state else ''}"
    return site.page(
        request,
        "jobs.html.j2",
        total=total,
        jobs=[_labelled(row) for row in rows],
        sweep=sweep,
        command=None if point else command,  # which takes no grid point
    )


@router.get("/jobs/{job_id}", include_in_schema=False)
def job(request: Request, site: Here, job_id: int) -> Response:
    """One job: its state, every attempt and why it ended."""
    return site.page(request, "job.html.j2", job=_labelled(_job(site, job_id)))


def _sweep(site: Site, name_or_id: str) -> dict[str, Any]:
    try:
        return _about(site, name_or_id)
    except RequestError as error:
        if error.field != "sweep":
            raise
        raise HTTPException(404, str(error)) from None


def _job(site: Site, job_id: int) -> dict[str, Any]:
    document = Audit(site.store()).job(job_id) if 0 < job_id <= MAX_JOB_ID else None
    if document is None:
        raise HTTPException(404, f"job: {job_id}: the id of a job, as `farm jobs list` shows them")
    return document


def _state(text: str | None) -> str | None:
    if text and text not in set(JobState):
        raise RequestError("state", text, f"one of {', '.join(JobState)}")
    return text or None


def _parsed(point: Mapping[str, str]) -> dict[str, Any]:
    """The values of a grid point, as the columns hold them. RequestError for what cannot be."""
    values = parse(point.items()).wanted.values
    return {name: next(iter(wanted)) for name, wanted in values.items()}


def _labelled(row: dict[str, Any]) -> dict[str, Any]:
    configuration = Configuration(**{name: row[name] for name in Configuration.__dataclass_fields__})
    return {**row, "configuration": configuration}


def _cards(site: Site) -> dict[str, Any]:
    rows = _overview(site)
    ordered = sorted(rows, key=lambda row: row["state"] not in ("open", "paused"))  # stable: the newest first
    failed = sum(row["jobs"]["failed"] for row in rows)
    return {"sweeps": ordered[:CARDS], "more": len(ordered) - CARDS, "failed": failed}


def _failures(site: Site) -> dict[str, Any]:
    groups = site.recent("failures", lambda: control.why_failed(site.store()))
    names = {row["id"]: row["name"] for row in _overview(site)}
    return {"groups": groups, "names": names}


def _pairs(site: Site, sweep_id: int) -> list[tuple[str, str]]:
    """The model-GPU pairs of a sweep."""
    return sorted({(point["model"], point["gpu"]) for point in _grid(site, sweep_id)})


@dataclass(frozen=True, slots=True)
class Cell:
    """A point of the grid as it is shown."""

    state: str
    text: str  # which jobs, in words
    joules: float | None  # of an image, where something was measured
    origin: str  # of that, where it was not measured: simulated, estimated
    href: str


@dataclass(frozen=True, slots=True)
class Panel:
    """The points of one precision, with guidance or without."""

    title: str
    steps: Sequence[int]
    lines: Sequence[tuple[str, Sequence[Cell | None]]]  # resolution, then a cell for each number of steps


def _panels(site: Site, sweep_id: int, model: str, gpu: str) -> list[Panel]:
    grouped: dict[tuple[str, bool], list[dict[str, Any]]] = defaultdict(list)
    for point in _grid(site, sweep_id):
        if (point["model"], point["gpu"]) == (model, gpu):
            grouped[point["precision"], point["cfg"]].append(point)
    panels = []
    for (precision, cfg), points in sorted(grouped.items()):
        steps = sorted({point["steps"] for point in points})
        sizes = sorted({(point["width"], point["height"]) for point in points}, key=lambda s: (s[0] * s[1], s))
        at = {(point["width"], point["height"], point["steps"]): point for point in points}
        lines = [
            (f"{width} × {height}", [_cell(at.get((width, height, n)), sweep_id) for n in steps])
            for width, height in sizes
        ]
        panels.append(Panel(f"{precision}, {'with' if cfg else 'without'} CFG", steps, lines))
    return panels


def _cell(point: Mapping[str, Any] | None, sweep_id: int) -> Cell | None:
    if point is None:
        return None
    counts = {state: point[state] for state in JobState if point[state]}
    shown = next(state for state in FIRST if state in counts)
    total = sum(counts.values())
    text = shown if total == 1 else ", ".join(f"{count} {state}" for state, count in counts.items())
    if total == 1:
        href = f"/jobs/{point['job']}"
    else:
        href = "/jobs?" + urlencode({"sweep": sweep_id, **{name: point[name] for name in POINT}})
    origin = point["origin"] or ""
    return Cell(shown, text, point["joules"], "" if origin == "measured" else origin, href)


def _live_cards(site: Site, _argument: str) -> str:
    return site.part("sweep_cards.html.j2", **_cards(site))


def _live_sweep(site: Site, sweep_id: str) -> str:
    return site.part("sweep_head.html.j2", sweep=_about(site, sweep_id))


def _live_grid(site: Site, argument: str) -> str:
    match argument.split(":", 2):
        case [sweep_id, model, gpu]:
            known = control.resolve(site.store(), sweep_id)["id"]
            return site.part("sweep_grid.html.j2", panels=_panels(site, known, model, gpu))
    raise RequestError("topic", argument, "a sweep, a model and a GPU type, colons between")


def _live_job(site: Site, job_id: str) -> str:
    return site.part("job_state.html.j2", job=_labelled(_job(site, parse_whole("job", job_id))))


def _live_failures(site: Site, _argument: str) -> str:
    return site.part("failure_groups.html.j2", **_failures(site))


PAGE: Final = Page(
    "Sweeps",
    "/sweeps",
    3,
    router,
    {
        "sweeps": _live_cards,
        "sweep": _live_sweep,
        "grid": _live_grid,
        "job": _live_job,
        "failures": _live_failures,
    },
)
