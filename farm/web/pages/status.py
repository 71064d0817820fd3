"""What programs ask: the state of everything as JSON, health, Prometheus metrics; and the line of the top bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from farm import results
from farm.alerts import KINDS
from farm.database import Store
from farm.domain.errors import FarmError
from farm.domain.worker import WorkerInfo
from farm.hosts import Hosts, document
from farm.jobs import CoordinatorJobs
from farm.sweeps import control
from farm.web.now import Now
from farm.web.site import Here, Page, Site, shared_json

NEWEST: Final = 50  # measurements of /api/status

router = APIRouter()


def _bar(site: Site, _argument: str) -> str:
    """What runs now, or that nobody knows."""
    try:
        now: Now | None = site.now()
    except FarmError:
        now = None
    return site.part("now.html.j2", now=now)


PAGE: Final = Page("Status", None, 100, router, {"now": _bar})


@router.get("/events", include_in_schema=False)
def events(site: Here, topic: Annotated[list[str], Query()]) -> Response:
    """What changes in these parts of pages, as server-sent events."""
    topics = site.live.check(topic)
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(site.live.read(topics), media_type="text/event-stream", headers=headers)


@router.get("/now")
def now(request: Request, site: Here) -> Response:
    """What runs now, as the top bar shows it."""
    return site.page(request, "now.html.j2", now=site.now())


@router.get("/api/status")
def status(request: Request, site: Here) -> Response:
    """Jobs, sweeps, workers and the newest measurements."""

    def make() -> dict[str, Any]:
        store = site.store()
        return {
            "status": control.status(store, None),
            "sweeps": control.listing(store),
            "workers": [document(worker) for worker in Hosts(store).workers()],
            "measurements": results.newest(store, NEWEST),
        }

    return shared_json(request, site, "status", make)


@router.get("/healthz")
def healthz(site: Here) -> dict[str, Any]:
    """Whether whoever should see to the open jobs is here."""
    store = site.store()
    coordinator, open_jobs = Hosts(store).coordinator(), CoordinatorJobs(store, site.settings).open_jobs()
    return {"ok": coordinator.alive or not open_jobs, "open_jobs": open_jobs, "coordinator": asdict(coordinator)}


@router.get("/metrics")
def metrics(site: Here) -> Response:
    """For Prometheus."""
    store = site.store()
    content = generate_latest(_metrics(store, CoordinatorJobs(store, site.settings)))
    return Response(content, media_type=CONTENT_TYPE_LATEST)


def _metrics(store: Store, jobs: CoordinatorJobs) -> CollectorRegistry:
    registry = CollectorRegistry()
    by_state = Gauge("joulefarm_jobs", "Jobs by GPU type and state", ["gpu", "state"], registry=registry)
    for gpu, counts in control.status(store, None)["by_gpu"].items():
        for state, count in counts.items():
            by_state.labels(gpu, state).set(count)
    waiting = Gauge("joulefarm_jobs_stuck", "Queued jobs that wait for somebody", ["gpu"], registry=registry)
    for row in Hosts(store).waiting():
        waiting.labels(row.gpu).inc(row.count if row.stuck else 0)
    alerts = Gauge("joulefarm_alerts", "States that somebody has to see to", ["kind"], registry=registry)
    for kind in KINDS:
        alerts.labels(kind).set(0)
    for alert in Hosts(store).alerts():
        alerts.labels(alert.kind).inc()
    up = Gauge("joulefarm_coordinator_up", "Whether a coordinator is here", registry=registry)
    up.set(Hosts(store).coordinator().alive)
    silent = Gauge("joulefarm_worker_silent_seconds", "Since a worker was last heard of", ["worker"], registry=registry)
    spool = Gauge("joulefarm_worker_spool_waiting", "Results not yet in SQL", ["worker"], registry=registry)
    off = Gauge("joulefarm_device_off", "Whether a device takes no jobs", ["worker"], registry=registry)
    for device in Hosts(store).devices_off():
        off.labels(device["worker"]).set(1)
    suspect = Gauge("joulefarm_device_suspect", "Whether its last health check was bad", ["worker"], registry=registry)
    workers = Hosts(store).workers()
    for worker in workers:
        off.labels(worker.name).set(bool(worker.off))
        suspect.labels(worker.name).set(worker.suspect_since is not None)
        silent.labels(worker.name).set(worker.silent_seconds)
        spool.labels(worker.name).set(worker.spool_waiting)
    _gauges(registry, workers)
    Gauge("joulefarm_measurements", "Measurements and imported rows", registry=registry).set(jobs.result_count())
    return registry


def _gauges(registry: CollectorRegistry, workers: Sequence[WorkerInfo]) -> None:
    """Power and temperature of devices whose workers said so a moment ago; of others nothing is known now."""
    labels = ["worker", "origin"]
    watts = Gauge("joulefarm_device_power_watts", "What a device draws now", labels, registry=registry)
    celsius = Gauge("joulefarm_device_temperature_celsius", "How warm it is", labels, registry=registry)
    for worker in filter(lambda worker: worker.alive, workers):
        for gauge, value in ((watts, worker.power_watts), (celsius, worker.temperature_celsius)):
            if value is not None:
                gauge.labels(worker.name, worker.power_origin).set(value)
