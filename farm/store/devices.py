"""Devices, which outlive the processes of their workers: known, taken off with a reason, put back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, exists, func, select, update

from farm.domain import JobState
from farm.store import tables as t
from farm.store.clock import now
from farm.store.upsert import upsert


def served_by(worker: str) -> ScalarSelect[Any]:
    """The device of a registered worker, for use within a query."""
    return select(t.worker.c.device_uuid).where(t.worker.c.name == worker).scalar_subquery()


def is_off(uuid: ColumnElement[Any] | ScalarSelect[Any]) -> ColumnElement[bool]:
    """Whether a device takes no jobs, for use within a query."""
    return exists().where(t.device.c.uuid == uuid, t.device.c.off_since.is_not(None))


def off(db: Connection, worker: str) -> str | None:
    """Why the device of a worker takes no jobs; None where it takes them."""
    query = select(t.device.c.off_kind, t.device.c.off_reason).where(
        t.device.c.uuid == served_by(worker), t.device.c.off_since.is_not(None)
    )
    row = db.execute(query).first()
    return None if row is None else f"{row.off_kind}: {row.off_reason}"


def learn(db: Connection) -> None:
    """Know the devices of all registered workers."""
    worker, device = t.worker.c, t.device.c
    news = device.uuid.is_(None) | (device.worker != worker.name) | (device.facts != worker.facts)
    query = (
        select(worker.device_uuid.label("uuid"), worker.name.label("worker"), worker.gpu, worker.host, worker.facts)
        .outerjoin(t.device, device.uuid == worker.device_uuid)
        .where(news)
        .order_by(worker.seen_at)
    )
    for row in db.execute(query).mappings().all():
        upsert(db, t.device, dict(row), key="uuid")


def find(db: Connection, name: str) -> dict[str, Any] | None:
    """The device that a worker of that name serves or served last, or the one of that UUID."""
    by_uuid = t.device.c.uuid == name
    row = db.execute(select(t.device).where(by_uuid | (t.device.c.worker == name)).order_by(by_uuid.desc())).mappings()
    found = row.first()
    return None if found is None else dict(found)


def known(db: Connection) -> list[dict[str, Any]]:
    """All devices, by their workers' names."""
    return [dict(row) for row in db.execute(select(t.device).order_by(t.device.c.worker)).mappings()]


def take_off(db: Connection, uuid: str, kind: str, reason: str) -> None:
    """Let a device take no more jobs; what runs on it runs to its end. Its health check, if one waits, is cancelled."""
    values = {"off_kind": kind, "off_reason": reason, "off_since": func.coalesce(t.device.c.off_since, now())}
    db.execute(update(t.device).where(t.device.c.uuid == uuid).values(**values))
    waiting = (t.job.c.only_device == uuid) & (t.job.c.state == JobState.QUEUED)
    ended = {"state": JobState.CANCELLED, "reason": f"{kind}: {reason}", "finished_at": now()}
    db.execute(update(t.job).where(waiting).values(**ended))


def put_back(db: Connection, uuid: str, *, new_baseline: bool) -> None:
    """Let a device take jobs again. With ``new_baseline`` its earlier health checks count no longer."""
    values: dict[str, Any] = {"off_kind": None, "off_reason": None, "off_since": None}
    values |= {"baseline_from": now(), "suspect_since": None} if new_baseline else {}
    db.execute(update(t.device).where(t.device.c.uuid == uuid).values(**values))
