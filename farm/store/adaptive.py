"""Sweeps of whose grid only what the law needs is measured: what they were asked for, how far they are, whose turn it
is to choose. Whoever chooses holds a lease; what it chose and what it expects are written in one transaction, or not at
all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, update

from farm.domain import Configuration, JobState
from farm.store import configurations
from farm.store import tables as t
from farm.store.clock import now

_A = t.adaptive_sweep.c
_OPEN = _A.ended_at.is_(None) & ~t.sweep.c.cancelled


@dataclass(frozen=True, slots=True)
class AskedJob:
    """A job that such a sweep wants, and what is known of it. None: not measured, or not known."""

    configuration: Configuration
    state: JobState
    spoiled: bool | None
    energy_joules: float | None
    duration_seconds: float | None


def add(db: Connection, values: Mapping[str, Any]) -> None:
    """Say that a sweep is one of these, with the columns of tables.AdaptiveSweep."""
    db.execute(t.adaptive_sweep.insert().values(rounds=0, lease_until=0.0, token=0, foreseen={}, **values))


def get(db: Connection, sweep_id: int) -> dict[str, Any] | None:
    """What an adaptive sweep was asked for and how far it is; None for a sweep that is not adaptive."""
    row = db.execute(select(t.adaptive_sweep).where(_A.sweep_id == sweep_id)).mappings().first()
    return None if row is None else dict(row)


def asked(db: Connection, sweep_ids: Collection[int] | None = None) -> dict[int, dict[str, Any]]:
    """What all adaptive sweeps, or those among these ids, were asked for and how far they are, by their ids."""
    query = select(t.adaptive_sweep)
    if sweep_ids is not None:
        query = query.where(_A.sweep_id.in_(sweep_ids))
    return {row["sweep_id"]: dict(row) for row in db.execute(query).mappings()}


def open_ids(db: Connection) -> list[int]:
    """Ids of adaptive sweeps that have neither ended nor been cancelled, paused ones too."""
    query = select(_A.sweep_id).join(t.sweep, t.sweep.c.id == _A.sweep_id).where(_OPEN)
    return list(db.execute(query.order_by(_A.sweep_id)).scalars())


def to_choose(db: Connection) -> list[dict[str, Any]]:
    """Those that have neither ended nor been cancelled nor paused, with their sweeps' rows (``late``: the deadline has
    passed), in the order in which they were submitted."""
    sweep = t.sweep.c
    late = func.coalesce(sweep.deadline < now(), False).label("late")
    query = (
        select(t.adaptive_sweep, sweep.name, sweep.spec, late)
        .join(t.sweep, sweep.id == _A.sweep_id)
        .where(_OPEN, ~sweep.paused)
        .order_by(_A.sweep_id)
    )
    return [dict(row) for row in db.execute(query).mappings()]


def jobs(db: Connection, sweep_id: int) -> list[AskedJob]:
    """Every job that the sweep wants."""
    job, measured = t.job.c, t.measurement.c
    query = (
        select(*configurations.COLUMNS, job.state, measured.spoiled, measured.energy_joules, measured.duration_seconds)
        .select_from(
            t.sweep_job.join(t.job, job.id == t.sweep_job.c.job_id)
            .join(t.configuration, t.configuration.c.id == job.configuration_id)
            .outerjoin(t.measurement, measured.job_id == job.id)
        )
        .where(t.sweep_job.c.sweep_id == sweep_id)
        .order_by(job.id)
    )
    return [
        AskedJob(
            configurations.of_row(row),
            JobState(row["state"]),
            row["spoiled"],
            row["energy_joules"],
            row["duration_seconds"],
        )
        for row in db.execute(query).mappings()
    ]


def take_lease(db: Connection, sweep_id: int, *, lease_seconds: float) -> int | None:
    """The token of whoever may choose now; None where another does."""
    return db.execute(
        update(t.adaptive_sweep)
        .where(_A.sweep_id == sweep_id, _A.ended_at.is_(None), _A.lease_until < now())
        .values(token=_A.token + 1, lease_until=now() + lease_seconds)
        .returning(_A.token)
    ).scalar()


def write(db: Connection, sweep_id: int, token: int, values: Mapping[str, Any], *, ended: bool) -> bool:
    """Write what the holder of the token found, and end its lease; False, and nothing written, where another took over
    or the sweep was paused or cancelled meanwhile."""
    free = select(t.sweep.c.id).where(t.sweep.c.id == sweep_id, ~t.sweep.c.cancelled, ~t.sweep.c.paused)
    done = db.execute(
        update(t.adaptive_sweep)
        .where(_A.sweep_id.in_(free), _A.token == token, _A.ended_at.is_(None))
        .values(lease_until=0.0, **values, **({"ended_at": now()} if ended else {}))
    )
    return done.rowcount == 1


def give_up(db: Connection, sweep_id: int, token: int) -> None:
    """End a lease without a word: the next may choose at once."""
    where = (_A.sweep_id == sweep_id, _A.token == token)
    db.execute(update(t.adaptive_sweep).where(*where).values(lease_until=0.0))
