"""What people did to sweeps and measured rows: who, when, what."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from farm.store import tables as t
from farm.store.clock import now


def note(db: Connection, who: str, action: str, *, sweep_id: int | None = None, **detail: Any) -> int:
    """Keep that somebody did something; the action's id. The database's own role is noted beside the name, which
    anybody can give himself."""
    role = None if db.dialect.name == "sqlite" else db.execute(select(func.current_user())).scalar()
    values = {"who": who, "role": role, "action": action, "sweep_id": sweep_id, "detail": detail}
    made = db.execute(t.action.insert().values(**values, at=now()).returning(t.action.c.id))
    return int(made.scalar_one())


def of_sweep(db: Connection, sweep_id: int) -> list[dict[str, Any]]:
    """What was done to a sweep, the first first."""
    query = select(t.action).where(t.action.c.sweep_id == sweep_id).order_by(t.action.c.id)
    return [dict(row) for row in db.execute(query).mappings()]
