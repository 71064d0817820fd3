"""What a person must know of a farm now: said here once, for status, workers, doctor, page and metrics alike."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from farm import waiting
from farm.domain import OPEN_STATES
from farm.domain.times import utc
from farm.domain.worker import NO_DEVICE, WorkerInfo
from farm.store import adaptive, devices, hosts, sweeps
from farm.store.engine import Connection
from farm.waiting import Coordinator, Waiting

COORDINATOR_GONE: Final = "coordinator_gone"
JOBS_WAIT: Final = "jobs_wait"  # for somebody to do something
JOBS_FAILED: Final = "jobs_failed"
DEVICE_OFF: Final = "device_off"
DEVICE_SUSPECT: Final = "device_suspect"
WORKER_SILENT: Final = "worker_silent"
SPOOL_WAITING: Final = "spool_waiting"
KINDS: Final = (
    COORDINATOR_GONE, JOBS_WAIT, JOBS_FAILED, DEVICE_OFF, DEVICE_SUSPECT, WORKER_SILENT, SPOOL_WAITING,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Alert:
    """One state that somebody has to see to, in words that stay the same for as long as it lasts.

    Attributes:
        kind: one of ``KINDS``.
        subject: the worker or GPU type that it is about; empty where it is the farm.
        count: of jobs or results, else 1.
        remedy: what to do.
    """

    kind: str
    subject: str
    count: int
    text: str
    remedy: str


def alerts(
    db: Connection,
    sweep_id: int | None = None,
    *,
    counts: Sequence[tuple[str, str, int, int]] | None = None,
    waits: Sequence[Waiting] | None = None,
) -> list[Alert]:
    """What stands in the way of a sweep, or of all that are open.

    ``counts`` (farm.store.sweeps.counts) and ``waits`` (farm.waiting.reasons) are of the same jobs in the same
    transaction, from whoever has them already: on a long queue they are most of the work.
    """
    counts = sweeps.counts(db, sweep_id) if counts is None else counts
    waits = waiting.reasons(db, sweep_id) if waits is None else waits
    gpus = None if sweep_id is None else {gpu for gpu, *_ in counts}
    chosen = [open_id for open_id in adaptive.open_ids(db) if sweep_id in (None, open_id)]
    is_open = bool(chosen) or any(count for _, state, count, _ in counts if state in OPEN_STATES)
    asked = sweeps.open_ids(db) if sweep_id is None else [sweep_id]
    return [
        *_coordinator(waiting.coordinator(db), is_open),
        *_waits(waits),
        *_failed(sweeps.failed_jobs(db, asked), sweep_id),
        *_devices(db, gpus),
        *_workers(hosts.workers(db), gpus),
    ]


def _coordinator(here: Coordinator, is_open: bool) -> Iterator[Alert]:
    if is_open and not here.alive:
        yield Alert(COORDINATOR_GONE, "", 1, str(here), "jobs wait for it")


def _waits(rows: Sequence[Waiting]) -> Iterator[Alert]:
    for row in rows:
        if row.stuck:
            yield Alert(JOBS_WAIT, row.gpu, row.count, f"{row.count} job(s) on {row.gpu} wait", row.why)


def _failed(count: int, sweep_id: int | None) -> Iterator[Alert]:
    if count:
        which = "" if sweep_id is None else f" {sweep_id}"
        remedy = f"`farm sweep status{which}` says why, `farm sweep retry{which}` tries again"
        yield Alert(JOBS_FAILED, "", count, f"{count} job(s) failed for good", remedy)


def _devices(db: Connection, gpus: Collection[str] | None) -> Iterator[Alert]:
    for row in devices.known(db):
        if row["off_kind"] and (gpus is None or row["gpu"] in gpus):
            name = row["worker"]
            remedy = f"`farm workers maintenance {name} --end` when it is well again"
            yield Alert(DEVICE_OFF, name, 1, f"{name} is off for {row['off_kind']}: {row['off_reason']}", remedy)


def _workers(workers: list[WorkerInfo], gpus: Collection[str] | None) -> Iterator[Alert]:
    for worker in workers:
        if gpus is not None and worker.gpu not in gpus:
            continue
        name = worker.name
        if worker.suspect_since is not None and not worker.off:
            text = f"{name}: its last health check was bad"
            yield Alert(DEVICE_SUSPECT, name, 1, text, "see `farm workers health`: results since the last good one")
        if worker.alive and worker.state == NO_DEVICE:
            yield Alert(DEVICE_OFF, name, 1, f"{name}: its device does not answer", "see docs/gpu-host.md")
        if not worker.alive:
            text = f"{name} is silent since {utc(worker.seen_at)}"
            yield Alert(WORKER_SILENT, name, 1, text, f"see to its host {worker.host}, or start it again")
        if count := worker.spool_waiting:
            text = f"{count} result(s) wait on the disk of {name} and are not in the database"
            yield Alert(SPOOL_WAITING, name, count, text, "its worker brings them while it runs and has the database")
