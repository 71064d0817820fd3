"""Who is there: workers and coordinators, as they last said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, select, update

from farm.domain.worker import WorkerInfo
from farm.store import tables as t
from farm.store.clock import now
from farm.store.upsert import upsert


def register(db: Connection, values: Mapping[str, Any]) -> None:
    """A worker starts: whatever was asked of its predecessor of the same name is forgotten."""
    upsert(
        db,
        t.worker,
        {**values, "started_at": now(), "seen_at": now(), "drain_requested": False},
        key="name",
    )


def report(db: Connection, name: str, values: Mapping[str, Any]) -> bool:
    """A worker is alive and says what it does; False where it never registered."""
    done = db.execute(update(t.worker).where(t.worker.c.name == name).values(**values, seen_at=now()))
    return done.rowcount == 1


def leave(db: Connection, name: str) -> None:
    """A worker has stopped: nothing of it is known any more but its device."""
    db.execute(t.worker.delete().where(t.worker.c.name == name))


def workers(db: Connection) -> list[WorkerInfo]:
    """All registered workers by name, with what is known of their devices and how long each has been silent."""
    device = [t.device.c[name] for name in ("off_kind", "off_reason", "off_since", "suspect_since")]
    query = (
        select(t.worker, (now() - t.worker.c.seen_at).label("silent_seconds"), *device)
        .outerjoin(t.device, t.device.c.uuid == t.worker.c.device_uuid)
        .order_by(t.worker.c.name)
    )
    return [WorkerInfo(**row) for row in db.execute(query).mappings()]


def spool_waiting(db: Connection) -> int:
    """Results on the disks of all workers that SQL does not have yet."""
    return int(db.execute(select(func.coalesce(func.sum(t.worker.c.spool_waiting), 0))).scalar_one())


def request_drain(db: Connection, name: str | None) -> int:
    """Ask one worker, or all, to finish what it has and stop. How many were asked."""
    where = [] if name is None else [t.worker.c.name == name]
    return db.execute(update(t.worker).where(*where).values(drain_requested=True)).rowcount


def drain_requested(db: Connection, name: str) -> bool:
    """Whether a worker was asked to finish what it has and stop."""
    return bool(db.execute(select(t.worker.c.drain_requested).where(t.worker.c.name == name)).scalar())


def touch_coordinator(db: Connection, name: str) -> float:
    """Seconds since any coordinator was last here, infinity for the first; this one is here now."""
    gap = db.execute(select(now() - func.max(t.coordinator.c.seen_at))).scalar()
    upsert(db, t.coordinator, {"name": name, "seen_at": now()}, key="name")
    return float("inf") if gap is None else max(0.0, float(gap))
