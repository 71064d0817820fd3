"""The page, the same as JSON, and Prometheus metrics, from SQL at every request; nothing can be changed through it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse, JSONResponse
from jinja2 import Environment, FileSystemLoader, select_autoescape
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from farm import results
from farm.database import Store
from farm.domain.errors import FarmError
from farm.domain.worker import WorkerInfo
from farm.hosts import Hosts
from farm.jobs import CoordinatorJobs
from farm.settings import Settings
from farm.sweeps import control
from farm.version import __version__

REFRESH_SECONDS = 5
NEWEST = 50  # measurements on the page


def create_app(store: Store, settings: Settings) -> FastAPI:
    """The ASGI application over one store."""
    app = FastAPI(title="joulefarm", version=__version__, docs_url=None, redoc_url=None)
    page = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=select_autoescape(["html", "j2"])
    ).get_template("index.html.j2")
    jobs = CoordinatorJobs(store, settings)

    @app.exception_handler(FarmError)
    def away(_request: Any, error: FarmError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status_code=503)

    @app.get("/", response_class=HTMLResponse)
    def index() -> str:
        return page.render(refresh=REFRESH_SECONDS, version=__version__, **_known(store))

    @app.get("/api/status")
    def status() -> dict[str, Any]:
        known = _known(store)
        return {**known, "workers": [_worker(w) for w in known["workers"]]}

    @app.get("/healthz")
    def healthz() -> dict[str, Any]:
        here, open_jobs = Hosts(store).coordinator(), jobs.open_jobs()
        return {"ok": here.alive or not open_jobs, "open_jobs": open_jobs, "coordinator": asdict(here)}

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(_metrics(store, jobs)), media_type=CONTENT_TYPE_LATEST)

    return app


def _known(store: Store) -> dict[str, Any]:
    return {
        "status": control.status(store, None),
        "sweeps": control.listing(store),
        "workers": Hosts(store).workers(),
        "measurements": results.newest(store, NEWEST),
    }


def _worker(info: WorkerInfo) -> dict[str, Any]:
    return {name: getattr(info, name) for name in WorkerInfo.__dataclass_fields__}


def _metrics(store: Store, jobs: CoordinatorJobs) -> CollectorRegistry:
    registry = CollectorRegistry()
    by_state = Gauge("joulefarm_jobs", "Jobs by GPU type and state", ["gpu", "state"], registry=registry)
    for gpu, counts in control.status(store, None)["by_gpu"].items():
        for state, count in counts.items():
            by_state.labels(gpu, state).set(count)
    waiting = Gauge("joulefarm_jobs_stuck", "Queued jobs that wait for somebody", ["gpu"], registry=registry)
    for row in Hosts(store).waiting():
        waiting.labels(row.gpu).inc(row.count if row.stuck else 0)
    here = Hosts(store).coordinator()
    Gauge("joulefarm_coordinator_up", "Whether a coordinator is here", registry=registry).set(here.alive)
    silent = Gauge("joulefarm_worker_silent_seconds", "Since a worker was last heard of", ["worker"], registry=registry)
    spool = Gauge("joulefarm_worker_spool_waiting", "Results not yet in SQL", ["worker"], registry=registry)
    for worker in Hosts(store).workers():
        silent.labels(worker.name).set(worker.silent_seconds)
        spool.labels(worker.name).set(worker.spool_waiting)
    Gauge("joulefarm_measurements", "Measurements and imported rows", registry=registry).set(jobs.result_count())
    return registry
