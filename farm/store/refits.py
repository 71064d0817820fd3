"""Whose turn it is to refit, and the fits. A tick that comes twice, or on two hosts, does no harm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Select, func, select, update

from farm.store import tables as t
from farm.store.clock import now

_BOUND = t.fit.c.pinned_at.is_not(None) | t.fit.c.kept_at.is_not(None)  # in use by a wish, or for want of better


def result_count(db: Connection) -> int:
    """Measurements, less those of health checks, and imported rows. Counted: sequence numbers commit out of order.

    A row that was removed counts twice, so that the number grows then, too: what is fitted has changed.
    """
    measured = select(func.count()).select_from(t.measurement).where(~t.measurement.c.health).scalar_subquery()
    imported, removed = (
        select(func.count()).select_from(table).scalar_subquery() for table in (t.dataset_row, t.removed_row)
    )
    return int(db.execute(select(measured + imported + 2 * removed)).scalar_one())


def rows_mark(db: Connection) -> tuple[int, int]:
    """Another value when the rows changed that a fit uses unasked, which are the measured ones: how many there are, and
    how many were removed."""
    measured = select(func.count()).select_from(t.measured_row).where(t.measured_row.c.origin == "measured")
    removed = select(func.count()).select_from(t.removed_row)
    row = db.execute(select(measured.scalar_subquery(), removed.scalar_subquery())).one()
    return int(row[0]), int(row[1])


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


def fits(
    db: Connection, *, law: str | None = None, data_hash: str | None = None, documents: bool = True
) -> list[dict[str, Any]]:
    """Fits, the newest first: all, or those of one law, or to the rows of one digest; with their documents or not."""
    columns = [column for column in t.fit.c if documents or column is not t.fit.c.document]
    query = select(*columns).order_by(t.fit.c.id.desc())
    if law is not None:
        query = query.where(t.fit.c.law == law)
    if data_hash is not None:
        query = query.where(t.fit.c.data_hash == data_hash)
    return [dict(row) for row in db.execute(query).mappings()]


def document(db: Connection, fit_id: int) -> Any:
    """What a stored fit predicts with, as its law wrote it."""
    return db.execute(select(t.fit.c.document).where(t.fit.c.id == fit_id)).scalar_one()


def fit(db: Connection, fit_id: int) -> dict[str, Any] | None:
    """The fit of that id; None where there is none."""
    return _first(db, select(t.fit).where(t.fit.c.id == fit_id))


def _first(db: Connection, query: Select[Any]) -> dict[str, Any] | None:
    row = db.execute(query).mappings().first()
    return None if row is None else dict(row)


def mark(db: Connection) -> tuple[Any, ...]:
    """Another value when a fit was stored, pinned, kept or let go of."""
    c = t.fit.c
    values = (func.count(), func.max(c.id), func.max(c.pinned_at), func.count(c.pinned_at), func.max(c.kept_at))
    return tuple(db.execute(select(*values, func.count(c.kept_at))).one())


def pinned(db: Connection) -> dict[str, Any] | None:
    """The fit that somebody pinned."""
    return _first(db, select(t.fit).where(t.fit.c.pinned_at.is_not(None)))


def kept(db: Connection, law: str) -> dict[str, Any] | None:
    """The fit of a law that stays in use, for a later one was worse."""
    query = select(t.fit).where(t.fit.c.law == law, t.fit.c.kept_at.is_not(None)).order_by(t.fit.c.id.desc())
    return _first(db, query)


def newest_of_all(db: Connection, law: str, version: str) -> dict[str, Any] | None:
    """The fit of a law's version that is pinned, or kept, or the newest to all measured rows."""
    of_all = (t.fit.c.dataset == "all") & (t.fit.c.scope["origin"].as_string() == "measured")
    query = select(t.fit).where(t.fit.c.law == law, t.fit.c.law_version == version, _BOUND | of_all)
    return _first(db, query.order_by(_BOUND.desc(), t.fit.c.id.desc()).limit(1))


def pin(db: Connection, fit_id: int) -> None:
    """Have predictions use this fit, and no other that was pinned or kept."""
    unpin(db)
    db.execute(update(t.fit).where(t.fit.c.id == fit_id).values(pinned_at=now()))


def unpin(db: Connection) -> list[int]:
    """Let go of every fit that was pinned or kept; which."""
    done = db.execute(
        update(t.fit).where(_BOUND).values(pinned_at=None, kept_at=None, kept_why=None).returning(t.fit.c.id)
    )
    return sorted(done.scalars())


def keep(db: Connection, law: str, fit_id: int | None, why: str | None) -> None:
    """Keep a fit of a law in use instead of newer ones, with the reason; with None, none of that law."""
    db.execute(update(t.fit).where(t.fit.c.law == law).values(kept_at=None, kept_why=None))
    if fit_id is not None:
        db.execute(update(t.fit).where(t.fit.c.id == fit_id).values(kept_at=now(), kept_why=why))
