"""The outbox: events as they happened, written with what they tell of, kept until every receiver has them."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, select, update

from farm.domain.event import EventKind, event_id
from farm.domain.text import storable
from farm.store import tables as t
from farm.store.clock import now
from farm.store.upsert import insert

STALE_SECONDS: Final = 7 * 86400.0  # what nobody was there to receive for so long is news no more
CLAIM_SECONDS: Final = 120.0  # of whoever sends: another does not try meanwhile
BATCH: Final = 200  # events in one message
TEXT_LIMIT: Final = 500
BACK_OFF_SECONDS: Final = 5.0  # after the first failure, doubled with every one
LONGEST_BACK_OFF_SECONDS: Final = 3600.0


def record(db: Connection, kind: EventKind, text: str, document: Mapping[str, Any], *, key: str | None = None) -> str:
    """Have people told of something, in the transaction in which it happens; the event's id.

    Args:
        db: an open transaction. A worker's role may do this.
        kind: what sort of event it is.
        text: one line for people.
        document: the same for programs; JSON-ready.
        key: what makes it this event and no other; the same again is not written twice. None: always another.
    """
    identity = event_id(kind, key or uuid.uuid4().hex)
    line = " ".join(storable(text).split())[:TEXT_LIMIT]
    values = {
        "id": identity,
        "kind": str(kind),
        "text": line,
        "document": dict(document),
        "created_at": now(),
        "tries": 0,
        "not_before": 0.0,
        "delivered": [],
    }
    db.execute(insert(db, t.event).values(**values).on_conflict_do_nothing())
    return identity


def _unsent() -> ColumnElement[bool]:
    event = t.event.c
    return and_(event.sent_at.is_(None), event.not_before <= now(), event.created_at > now() - STALE_SECONDS)


def due_kinds(db: Connection, gather_seconds: float) -> list[str]:
    """Kinds of events that wait to be sent, less those of which a message went out in the last ``gather_seconds``."""
    event = t.event.c
    waiting = set(db.execute(select(event.kind).where(_unsent()).distinct()).scalars())
    if not waiting:
        return []
    of_late = select(event.kind).where(event.sent_at > now() - gather_seconds).distinct()
    return sorted(waiting - set(db.execute(of_late).scalars()))


def claim(db: Connection, kind: str) -> list[dict[str, Any]]:
    """The oldest waiting events of a kind, for one message; nobody else sends them meanwhile."""
    query = select(t.event).where(t.event.c.kind == kind, _unsent()).order_by(t.event.c.created_at, t.event.c.id)
    rows = [dict(row) for row in db.execute(query.limit(BATCH).with_for_update(skip_locked=True)).mappings()]
    ids = [row["id"] for row in rows]
    if ids:
        claimed = {"tries": t.event.c.tries + 1, "not_before": now() + CLAIM_SECONDS}
        db.execute(update(t.event).where(t.event.c.id.in_(ids)).values(**claimed))
    return rows


def settle(db: Connection, rows: Sequence[Mapping[str, Any]], delivered: Collection[str], error: str | None) -> None:
    """Note which receivers have these events; where one has not, when it is tried again.

    Args:
        rows: as ``claim`` returned them.
        delivered: receivers that took them now.
        error: why another did not; None where all have them.
    """
    for row in rows:
        done = sorted({*row["delivered"], *delivered})
        if error is None:
            values: dict[str, Any] = {"sent_at": now(), "error": None}
        else:
            wait = min(BACK_OFF_SECONDS * 2 ** min(row["tries"], 30), LONGEST_BACK_OFF_SECONDS)
            values = {"not_before": now() + wait, "error": error[:TEXT_LIMIT]}
        db.execute(update(t.event).where(t.event.c.id == row["id"]).values(delivered=done, **values))


def newest(db: Connection, limit: int) -> list[dict[str, Any]]:
    """Events, the newest first."""
    query = select(t.event).order_by(t.event.c.created_at.desc(), t.event.c.id).limit(limit)
    return [dict(row) for row in db.execute(query).mappings()]
