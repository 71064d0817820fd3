"""Devices: a lane each on one axis of time, with what it measured, tried and loaded, and how it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from markupsafe import Markup
from pydantic import TypeAdapter, ValidationError

from farm import health
from farm.domain import Configuration, RequestError, words
from farm.domain.times import stated
from farm.hosts import Hosts
from farm.web import charts
from farm.web.site import Here, Page, Site, shared_json

SPANS: Final = (("15 min", 0.25), ("1 h", 1.0), ("6 h", 6.0), ("24 h", 24.0), ("7 d", 168.0))
USUAL_HOURS: Final = 6.0
WIDTH: Final = 1000  # units of a lane
TICKS: Final = (60, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800)  # seconds between them
LEAST: Final = 1.0  # units: what is nearer than this is drawn as one
KEYS: Final = tuple(Configuration.__dataclass_fields__)
ATTEMPT: Final = ("job_id", "number", "worker", "end", "message", "loads", "started_at", "ended_at")  # in JSON
STRETCH: Final = ("worker", "device_uuid", "kind", "reason", "started_at", "ended_at")
ENDS: Final[Mapping[str | None, str]] = {
    "accepted": "done",
    None: "running",
    "released": "cancelled",
    "cancelled": "cancelled",
}

Hours = Annotated[float, Query(gt=0, le=24 * 366, allow_inf_nan=False)]
router = APIRouter()


@router.get("/api/workers")
def api_workers(request: Request, site: Here) -> Response:
    """Workers, coordinator and why jobs wait, as `farm workers list --json` prints them."""
    return shared_json(request, site, "workers", lambda: _document(site))


@router.get("/api/devices")
def api_devices(request: Request, site: Here, hours: Hours = USUAL_HOURS) -> Response:
    """What was tried on every device within these hours, when devices were off, and their health checks."""
    return shared_json(request, site, ("devices", hours), lambda: _history(site, hours))


@router.get("/devices", include_in_schema=False)
def devices(request: Request, site: Here, hours: Hours = USUAL_HOURS) -> Response:
    """Every device that a worker serves, or served within these hours."""
    return site.page(request, "devices.html.j2", spans=SPANS, hours=hours, workers=_document(site)["workers"])


@dataclass(slots=True)
class Segment:
    """Attempts that follow each other on one device and ended alike, drawn as one."""

    state: str  # a farm.domain.JobState, by how they ended
    start: float  # seconds before now
    end: float
    count: int
    loads: int
    job: int
    what: str

    @property
    def tip(self) -> str:
        took = words.seconds(self.start - self.end)
        loaded = ", loads a pipeline" if self.loads else ""
        if self.count > 1:
            return f"{self.count:,} attempts within {took}: {self.state}{loaded}"
        return f"job {self.job}: {self.what}\n{took}: {self.state}{loaded}"


@dataclass(frozen=True, slots=True)
class Lane:
    """One device."""

    worker: Mapping[str, Any] | None  # None: it left
    name: str
    last: Mapping[str, Any]  # of its last measurement
    segments: Sequence[Segment]
    busy: float  # part of the time in which it was at work
    off: Sequence[Mapping[str, Any]]  # stretches in which it took no jobs: farm.store.devices.stretches_off
    checks: Sequence[Mapping[str, Any]]  # of its health, the first first
    drift: Markup | None  # their energies beside the baseline's


def _document(site: Site) -> dict[str, Any]:
    return site.recent("workers", lambda: Hosts(site.store()).document())


def _history(site: Site, hours: float) -> dict[str, Any]:
    hosts = Hosts(site.store())
    attempts = [{key: attempt[key] for key in ATTEMPT} for attempt in hosts.attempts(hours * 3600)]
    off = [{key: stretch[key] for key in STRETCH} for stretch in hosts.stretches_off(hours * 3600)]
    return {"hours": hours, **stated({"attempts": attempts, "off": off}), "health": health.series(site.store())}


def _shown(site: Site, hours: float) -> dict[str, Any]:
    seconds = hours * 3600
    hosts = Hosts(site.store())
    document = _document(site)
    workers = {worker["name"]: worker for worker in document["workers"]}
    attempts: dict[str, list[dict[str, Any]]] = {name: [] for name in workers}
    for attempt in hosts.attempts(seconds):
        attempts.setdefault(attempt["worker"], []).append(attempt)
    series = {device["worker"]: device["checks"] for device in health.series(site.store())}
    now = datetime.now(UTC)
    stretches = hosts.stretches_off(seconds)
    lanes = []
    for name in sorted(attempts, key=lambda name: (name not in workers, name)):
        segments = _segments(attempts[name], seconds)
        busy = sum(segment.start - segment.end for segment in segments) / seconds
        checks = series.get(name, [])
        lanes.append(
            Lane(
                worker=workers.get(name),
                name=name,
                last=hosts.last_measured(name) or {},
                segments=segments,
                busy=min(busy, 1.0),
                off=_off(stretches, name, workers.get(name)),
                checks=[{**check, "ago": _ago(check["at"], now)} for check in checks],
                drift=_drift(checks),
            )
        )
    return {
        "lanes": lanes,
        "hours": hours,
        "coordinator": document["coordinator"],
        "alerts": document["alerts"],
        "x": lambda before: round(WIDTH * (1 - min(max(before, 0.0), seconds) / seconds), 1),
        "ticks": [(WIDTH * (1 - tick / seconds), words.seconds(tick)) for tick in _ticks(seconds)],
    }


def _ago(at: str, now: datetime) -> float:
    return (now - datetime.fromisoformat(at)).total_seconds()


def _off(
    stretches: Sequence[Mapping[str, Any]], name: str, worker: Mapping[str, Any] | None
) -> list[Mapping[str, Any]]:
    """Those of the device that a worker serves, or, where it left, that it served."""
    if worker is None:
        return [stretch for stretch in stretches if stretch["worker"] == name]
    return [stretch for stretch in stretches if stretch["device_uuid"] == worker["device_uuid"]]


def _drift(checks: Sequence[Mapping[str, Any]]) -> Markup | None:
    """How far each health check was from the device's own baseline; None where fewer than two say so."""
    known = [check for check in checks if check["deviation_percent"] is not None]
    if len(known) < 2:
        return None
    points = [(datetime.fromisoformat(check["at"]).timestamp(), check["deviation_percent"]) for check in known]
    tips = [
        f"{words.moment(check['at'])}\n{words.joules(check['energy_joules'])}, "
        f"{check['deviation_percent']:+.2f}% from the baseline: {check['verdict']}"
        for check in known
    ]
    good = [check["verdict"] == "good" for check in known]
    return charts.drift(points, known[-1]["limit_percent"], tips, good, "Drift of its health checks")


def _ticks(seconds: float) -> list[float]:
    """Round times before now, four or fewer."""
    step = next((step for step in TICKS if seconds / step <= 4.5), seconds / 4)
    return [step * place for place in range(1, int(seconds / step) + 1) if step * place < 0.95 * seconds]


def _segments(attempts: Sequence[Mapping[str, Any]], seconds: float) -> list[Segment]:
    """The attempts of one device, the first first; those too near to be told apart as one."""
    nearest = seconds * LEAST / WIDTH
    segments: list[Segment] = []
    for attempt in attempts:
        state = ENDS.get(attempt["end"], "failed")
        start, end = min(attempt["started"], seconds), max(attempt["ended"] or 0.0, 0.0)
        before = segments[-1] if segments else None
        if before is not None and before.state == state and before.end - start < nearest:
            before.end = min(before.end, end)
            before.count += 1
            before.loads += attempt["loads"]
            continue
        what = words.label(Configuration(**{key: attempt[key] for key in KEYS}))
        segments.append(Segment(state, start, end, 1, attempt["loads"], attempt["job_id"], what))
    return segments


def _live(site: Site, argument: str) -> str:
    try:
        hours = TypeAdapter(Hours).validate_python(argument)
    except ValidationError as error:
        raise RequestError("hours", argument, error.errors()[0]["msg"].lower()) from None
    return site.part("lanes.html.j2", **_shown(site, hours))


PAGE: Final = Page("Devices", "/devices", 4, router, {"devices": _live})
