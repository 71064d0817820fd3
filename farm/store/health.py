"""Health checks in SQL: asked for, evaluated, and what a bad one means for the device and for results before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Exists, exists, func, select, update

from farm.domain import OPEN_STATES, JobState
from farm.domain.health import Verdict
from farm.domain.measurement import SUSPECT
from farm.domain.worker import HEALTH, NO_DEVICE, SILENT_SECONDS
from farm.store import devices, prompts, submission
from farm.store import tables as t
from farm.store.clock import now
from farm.store.submission import Wanted


def ready(db: Connection) -> list[dict[str, Any]]:
    """Devices whose worker is there and that take jobs, less those whose check is open; with the time, ``now``."""
    worker, device, check = t.worker.c, t.device.c, t.health_check.c
    is_open = select(check.id).where(check.device_uuid == device.uuid, check.verdict.is_(None)).exists()
    query = (
        select(t.device, now().label("now"))
        .join(t.worker, (worker.device_uuid == device.uuid) & (worker.name == device.worker))
        .where(worker.seen_at > now() - SILENT_SECONDS, worker.state.not_in((NO_DEVICE, "draining")))
        .where(~worker.drain_requested, device.off_since.is_(None), ~is_open)
        .order_by(device.worker)
    )
    return [dict(row) for row in db.execute(query).mappings()]


def checks(db: Connection, device_uuid: str, *, since: float = 0.0) -> list[dict[str, Any]]:
    """The checks of a device that were asked for since then, the first first."""
    check = t.health_check.c
    query = select(t.health_check).where(check.device_uuid == device_uuid, check.asked_at >= since).order_by(check.id)
    return [dict(row) for row in db.execute(query).mappings()]


def ask(
    db: Connection,
    device: Mapping[str, Any],
    cause: str,
    wanted: Wanted,
    listed: tuple[str, tuple[str, ...]],
    *,
    code_version: str,
) -> int:
    """Queue a check as a job that only this device may take; the job's id.

    Args:
        db: an open transaction.
        device: as ``ready`` returned it.
        cause: why it is checked.
        wanted: the golden configuration; its replicate is replaced by a number of this check alone, below 0, so that
            the job is no sweep's.
        listed: digest and texts of the prompts.
        code_version: of this program.
    """
    asked_at = submission.begin(db)
    values = {
        "device_uuid": device["uuid"], "worker": device["worker"], "gpu": device["gpu"], "cause": cause,
        "facts": device["facts"], "asked_at": asked_at,
    }  # fmt: skip
    check_id = int(db.execute(t.health_check.insert().values(**values).returning(t.health_check.c.id)).scalar_one())
    prompts.put(db, *listed)
    job = Wanted(wanted.configuration, -check_id, wanted.queue, wanted.catalog_version)
    columns = {
        "sweep_id": None, "prompts_sha256": listed[0], "code_version": code_version, "created_at": asked_at,
        "only_device": device["uuid"],
    }  # fmt: skip
    submission.add_jobs(db, [job], columns)
    where = (t.job.c.only_device == device["uuid"], t.job.c.replicate == -check_id)
    job_id = int(db.execute(select(t.job.c.id).where(*where)).scalar_one())
    db.execute(update(t.health_check).where(t.health_check.c.id == check_id).values(job_id=job_id))
    return job_id


def give_up_waiting(db: Connection) -> int:
    """Cancel queued checks of devices whose workers are gone; how many."""
    worker = t.worker.c
    there = select(worker.device_uuid).where(worker.seen_at > now() - SILENT_SECONDS)
    waits = (t.job.c.only_device.is_not(None), t.job.c.state == JobState.QUEUED, t.job.c.only_device.not_in(there))
    values = {"state": JobState.CANCELLED, "reason": "its worker is not there", "finished_at": now()}
    return db.execute(update(t.job).where(*waits).values(**values)).rowcount


def ended(db: Connection) -> list[dict[str, Any]]:
    """Checks without a verdict whose jobs have ended, with ``state``, ``reason`` and ``measurement`` of those."""
    joined = t.health_check.join(t.job, t.job.c.id == t.health_check.c.job_id).outerjoin(
        t.measurement, t.measurement.c.job_id == t.job.c.id
    )
    query = (
        select(t.health_check, t.job.c.state, t.job.c.reason, t.measurement.c.document.label("measurement"))
        .select_from(joined)
        .where(t.health_check.c.verdict.is_(None), t.job.c.state.not_in(OPEN_STATES))
        .order_by(t.health_check.c.id)
    )
    return [dict(row) for row in db.execute(query).mappings()]


def settle(db: Connection, check_id: int, verdict: Verdict, **values: Any) -> bool:
    """Write a verdict; False where another coordinator has written one."""
    where = (t.health_check.c.id == check_id, t.health_check.c.verdict.is_(None))
    done = db.execute(update(t.health_check).where(*where).values(verdict=verdict, checked_at=now(), **values))
    return done.rowcount == 1


def trust(db: Connection, device_uuid: str) -> None:
    """A check was good: results are flagged no longer."""
    db.execute(update(t.device).where(t.device.c.uuid == device_uuid).values(suspect_since=None))


def suspect(db: Connection, device_uuid: str) -> int:
    """A check was bad: flag the device's results since the last good one, and those to come; how many it were now."""
    check, device = t.health_check.c, t.device.c
    of_device = check.device_uuid == device_uuid
    good = select(func.max(check.checked_at)).where(of_device, check.verdict == Verdict.GOOD)
    first = select(func.min(check.asked_at)).where(of_device)
    since = db.execute(select(func.coalesce(good.scalar_subquery(), first.scalar_subquery()))).scalar()
    db.execute(
        update(t.device)
        .where(device.uuid == device_uuid)
        .values(suspect_since=func.coalesce(device.suspect_since, since))
    )
    workers = select(check.worker).where(of_device)
    query = select(t.measurement.c.job_id, t.measurement.c.measurement_id, t.measurement.c.document).where(
        t.measurement.c.recorded_at > since, t.measurement.c.worker.in_(workers)
    )
    flagged = 0
    for row in db.execute(query).all():
        flags = list(row.document.get("flags") or ())
        if SUSPECT in flags:
            continue
        flags.append(SUSPECT)
        its = t.measurement.c.job_id == row.job_id
        db.execute(update(t.measurement).where(its).values(document={**row.document, "flags": flags}))
        listed = t.measured_row.c.job_id == row.job_id
        db.execute(update(t.measured_row).where(listed).values(flags=f" {' '.join(flags)} "))
        flagged += 1
    return flagged


def is_suspect(worker: ColumnElement[str]) -> Exists:
    """Whether the device of a worker has had no good check since a bad one, as a part of a statement."""
    return exists().where(t.device.c.worker == worker, t.device.c.suspect_since.is_not(None))


def take_off(db: Connection, device_uuid: str, reason: str) -> None:
    """Let a device take no more jobs because of its checks, unless it is off already."""
    is_off = select(t.device.c.off_since).where(t.device.c.uuid == device_uuid)
    if db.execute(is_off).scalar() is None:
        devices.take_off(db, device_uuid, HEALTH, reason)
