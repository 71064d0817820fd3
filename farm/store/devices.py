"""Devices, which outlive the processes of their workers: known, taken off with a reason, put back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, ScalarSelect, exists, func, or_, select, update

from farm.domain import JobState
from farm.domain.event import EventKind
from farm.domain.worker import HEALTH, MAINTENANCE, NO_DEVICE
from farm.store import events
from farm.store import tables as t
from farm.store.clock import now
from farm.store.upsert import upsert

TAKEN_OFF: Final = "maintenance"  # actions, as they are kept
PUT_BACK: Final = "maintenance end"


def served_by(worker: str | ColumnElement[str]) -> ScalarSelect[Any]:
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
    query = select(t.device).where(by_uuid | (t.device.c.worker == name)).order_by(by_uuid.desc())
    row = db.execute(query).mappings().first()
    return None if row is None else dict(row)


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
    row = dict(db.execute(select(t.device).where(t.device.c.uuid == uuid)).mappings().one())
    tell_off(db, row, kind, reason, row["off_since"])


def tell_off(db: Connection, device: Mapping[str, Any], kind: str, reason: str, since: float) -> None:
    """Have people told of a device that takes no jobs."""
    document = {"worker": device["worker"], "gpu": device["gpu"], "device_uuid": device["uuid"], "kind": kind}
    text = f"{device['worker']} takes no jobs: {kind}: {reason}"
    key = f"{device['uuid']} {kind} {since} {reason}"
    events.record(db, EventKind.DEVICE_OFF, text, {**document, "reason": reason}, key=key)


def stretches_off(db: Connection, seconds: float) -> list[dict[str, Any]]:
    """Stretches in which a device took no jobs, the first first: ``worker, device_uuid, kind, reason``, ``started`` and
    ``ended`` in seconds before now, ``started_at`` and ``ended_at``; both ends are None of those that go on.

    Those that ended before the last so many seconds are left out; another kind or reason is another stretch.
    That one began is told in an event, whoever took the device off; that it ended is an action of whoever put it back.
    """
    event, action = t.event.c, t.action.c
    told = select((now() - event.created_at).label("ago"), event.created_at.label("at"), event.document).where(
        event.kind == EventKind.DEVICE_OFF, event.document["kind"].as_string().in_((MAINTENANCE, HEALTH))
    )
    ended = select((now() - action.at).label("ago"), action.at, action.detail).where(action.action == PUT_BACK)
    changes = [(row.ago, row.at, row.document, True) for row in db.execute(told)]
    changes += [(row.ago, row.at, row.detail, False) for row in db.execute(ended)]
    stretches: list[dict[str, Any]] = []
    going_on: dict[str, dict[str, Any]] = {}  # by device
    served: dict[str, str] = {}  # device by worker: actions of earlier versions name the worker alone
    for ago, at, document, begins in sorted(changes, key=lambda change: -change[0]):
        uuid = document.get("device_uuid") or served.get(document["worker"], "")
        if (before := going_on.pop(uuid, None)) is not None:
            before |= {"ended": ago, "ended_at": at}
        if begins:
            served[document["worker"]] = uuid
            stretch = {name: document[name] for name in ("worker", "device_uuid", "kind", "reason")}
            going_on[uuid] = stretch | {"started": ago, "started_at": at, "ended": None, "ended_at": None}
            stretches.append(going_on[uuid])
    return [stretch for stretch in stretches if stretch["ended"] is None or stretch["ended"] < seconds]


def watch(db: Connection, *, spool_seconds: float) -> None:
    """Note which devices are not there, and where results wait on a disk; have people told, once each time."""
    learn(db)
    worker, device = t.worker.c, t.device.c
    columns = (t.device, worker.state, worker.spool_waiting, now().label("now"))
    joined = t.device.join(t.worker, device.uuid == worker.device_uuid)
    noted = (device.absent_since.is_not(None), device.spool_since.is_not(None))
    query = (
        select(*columns)
        .select_from(joined)
        .where((worker.state == NO_DEVICE) | (worker.spool_waiting > 0) | or_(*noted))
    )
    for row in map(dict, db.execute(query).mappings().all()):
        absent, waits = row["state"] == NO_DEVICE, row["spool_waiting"] > 0
        absent_since, spool_since = row["absent_since"] or row["now"], row["spool_since"] or row["now"]
        values = {"absent_since": absent_since if absent else None, "spool_since": spool_since if waits else None}
        db.execute(update(t.device).where(device.uuid == row["uuid"]).values(**values))
        if absent:
            tell_off(db, row, NO_DEVICE, "its worker does not find the device", absent_since)
        if waits and row["now"] - spool_since > spool_seconds:
            text = (
                f"{row['spool_waiting']} result(s) wait on the disk of {row['worker']} and do not get into the database"
            )
            document = {"worker": row["worker"], "host": row["host"], "results": row["spool_waiting"]}
            key = f"{row['uuid']} {spool_since}"
            events.record(db, EventKind.SPOOL_WAITING, text, document, key=key)


def put_back(db: Connection, uuid: str, *, new_baseline: bool) -> None:
    """Let a device take jobs again. With ``new_baseline`` its earlier health checks count no longer."""
    values: dict[str, Any] = {"off_kind": None, "off_reason": None, "off_since": None}
    values |= {"baseline_from": now(), "suspect_since": None} if new_baseline else {}
    db.execute(update(t.device).where(t.device.c.uuid == uuid).values(**values))
