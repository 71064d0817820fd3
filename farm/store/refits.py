"""Whose turn it is to refit, and the fits. A tick that comes twice, or on two hosts, does no harm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, select, update

from farm.store import tables as t
from farm.store.clock import now


def result_count(db: Connection) -> int:
    """Measurements and imported rows. Counted, since sequence numbers may commit out of order."""
    measured = select(func.count()).select_from(t.measurement).scalar_subquery()
    imported = select(func.count()).select_from(t.dataset_row).scalar_subquery()
    return int(db.execute(select(measured + imported)).scalar_one())


def take_lease(db: Connection, *, lease_seconds: float) -> tuple[int, int] | None:
    """(token, results there are now) where something is new and nobody else refits; None otherwise."""
    count = result_count(db)
    state = t.refit_state.c
    token = db.execute(
        update(t.refit_state)
        .where(state.id == 1, state.lease_until < now(), state.covered < count)
        .values(token=state.token + 1, lease_until=now() + lease_seconds)
        .returning(state.token)
    ).scalar()
    return None if token is None else (token, count)


def finish(db: Connection, token: int, *, covered: int) -> bool:
    """The refit that holds the token covers so many results; False where another took over meanwhile."""
    state = t.refit_state.c
    done = db.execute(
        update(t.refit_state).where(state.id == 1, state.token == token).values(covered=covered, lease_until=0.0)
    )
    return done.rowcount == 1


def give_up(db: Connection, token: int) -> None:
    """The refit failed: the next tick may try again."""
    state = t.refit_state.c
    db.execute(update(t.refit_state).where(state.id == 1, state.token == token).values(lease_until=0.0))


def add_fit(db: Connection, values: Mapping[str, Any]) -> int:
    """Store a fit (the columns of tables.Fit, less id and created_at); its id."""
    made = db.execute(t.fit.insert().values(**values, created_at=now()).returning(t.fit.c.id))
    return int(made.scalar_one())


def fits(db: Connection, *, law: str | None = None, dataset: str | None = None) -> list[dict[str, Any]]:
    """Fits, the newest first."""
    query = select(t.fit).order_by(t.fit.c.id.desc())
    if law is not None:
        query = query.where(t.fit.c.law == law)
    if dataset is not None:
        query = query.where(t.fit.c.dataset == dataset)
    return [dict(row) for row in db.execute(query).mappings()]


def fit(db: Connection, fit_id: int) -> dict[str, Any] | None:
    row = db.execute(select(t.fit).where(t.fit.c.id == fit_id)).mappings().first()
    return None if row is None else dict(row)
