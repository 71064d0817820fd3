"""The workers that the bench ``queue`` times: this farm's, and those of peers that lose nothing either when killed.

Each is a program of its own, ``python -m tests.bench._queue_workers NAME URL``, and works off what was queued before it
started. All of them store the same of a task: the document of a measurement and its raw log. No device takes time.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from farm.broker.app import make_app, register_measure
from farm.broker.embedded import EmbeddedBroker
from farm.domain import Configuration, Job, Measurement
from farm.settings import load
from workers.device.identity import Place, WorkerIdentity
from workers.runtime.device_session import DeviceSession
from workers.runtime.listener import Listener
from workers.runtime.worker_process import WorkerProcess

QUEUE = "a100"
DOCUMENT = "BENCH_DOCUMENT"  # variable that names the file with what peers store
JOB = Job(
    id=1,
    sweep_id=None,
    configuration=Configuration(
        model="sd2", gpu="a100", width=64, height=64, steps=1, precision="fp16", cfg=False, prompts=1, size="nano"
    ),
    queue=QUEUE,
    replicate=0,
    attempt=1,
    prompts_sha256=None,
    code_version="",
    catalog_version="",
)


class InstantDevice(DeviceSession):
    """A simulated device that measures once and says the same of every later job."""

    _first: tuple[Measurement, bytes] | None = None

    def measure(self, job: Job, prompts: Sequence[str]) -> tuple[Measurement, bytes]:
        if self._first is None:
            self._first = super().measure(job, prompts)
        measurement, samples = self._first
        named = replace(measurement, configuration=job.configuration, measurement_id=str(uuid.uuid4()))
        return named, samples


class InstantListener(Listener):
    """A worker of the farm on such a device."""

    def _open_process(self, **_: object) -> None:
        place = Place(gpu="a100", device=0, simulate=True)
        self._process = WorkerProcess(self._identity, self._settings, device=InstantDevice(place, self._settings))
        self._process.open()


def write_document(path: Path) -> None:
    """Write what peers store of a task: what the farm's worker stores, with the raw log in base64."""
    device = InstantDevice(Place(gpu="a100", device=0, simulate=True), load())
    device.prepare(JOB.configuration)
    measurement, samples = device.measure(JOB, ["a prompt"])
    device.close()
    found = {"document": measurement.to_dict(), "samples": base64.b64encode(samples).decode()}
    path.write_text(json.dumps(found))


def _document() -> Any:
    return json.loads(Path(os.environ[DOCUMENT]).read_text())


def farm(_url: str) -> None:
    """This farm's own, as ``farm worker`` runs it."""
    settings = load()
    identity = WorkerIdentity.plain("a100", 0, settings.home, simulate=True)
    InstantListener(EmbeddedBroker(settings).url or "", settings, identity).run()


def noop(_url: str) -> None:
    """Celery whose task does nothing and stores nothing."""
    settings = load()
    app = make_app(EmbeddedBroker(settings).url or "", settings)
    register_measure(app, lambda _: None)
    _work(app)


def celery(url: str) -> None:
    """Celery that acknowledges late and stores results by its SQLAlchemy backend."""
    app = celery_app(url)
    found = _document()

    @app.task(name="bench.measure", acks_late=True, ignore_result=False)
    def measure(number: int) -> Any:
        return {**found, "job": number}

    _work(app)


def celery_app(url: str) -> Any:
    """The farm's broker settings, with a result backend."""
    settings = load()
    app = make_app(EmbeddedBroker(settings).url or "", settings)
    app.conf.update(result_backend=f"db+{url}", task_ignore_result=False, result_expires=None)
    return app


def _work(app: Any) -> None:
    worker = app.Worker(
        pool_cls="prefork", concurrency=1, queues=[QUEUE], without_gossip=True, without_mingle=True,
        without_heartbeat=True, quiet=True,
    )  # fmt: skip
    worker.start()


def procrastinate(url: str) -> None:
    """Procrastinate, whose queue is the database; its task writes the result there, since the library keeps none."""
    app = procrastinate_app(url)
    app.run_worker(queues=[QUEUE], concurrency=1, install_signal_handlers=True)


def procrastinate_app(url: str) -> Any:
    """The app with its one task."""
    import procrastinate as library

    connector = library.PsycopgConnector(conninfo=url.replace("+psycopg", ""))
    app = library.App(connector=connector)
    path = os.environ.get(DOCUMENT)
    found = json.loads(Path(path).read_text()) if path else {}
    document, samples = json.dumps(found.get("document")), base64.b64decode(found.get("samples", ""))

    @app.task(name="bench.measure", queue=QUEUE)
    async def measure(number: int) -> None:
        await connector.execute_query_async(
            "INSERT INTO bench_result (number, document, samples) VALUES (%(number)s, %(document)s, %(samples)s)",
            number=number, document=document, samples=samples,
        )  # fmt: skip

    return app


if __name__ == "__main__":
    {"farm": farm, "noop": noop, "celery": celery, "procrastinate": procrastinate}[sys.argv[1]](sys.argv[2])
