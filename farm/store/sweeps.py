"""Sweeps as a whole: how far they are; pause, resume, cancel, retry."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, select, update

from farm.domain import OPEN_STATES, AttemptEnd, JobState
from farm.store import leases
from farm.store import tables as t
from farm.store.clock import now

SelectT = TypeVar("SelectT", bound=Select[*tuple[Any, ...]])

OPEN = t.job.c.state.in_(OPEN_STATES)


def find(db: Connection, name_or_id: str) -> dict[str, Any] | None:
    """A sweep by its id, else the newest of that name. No name has what cannot be printed, which servers refuse."""
    if not name_or_id.isprintable():
        return None
    number = int(name_or_id) if name_or_id.isascii() and name_or_id.isdecimal() and len(name_or_id) < 10 else 0
    by_id = t.sweep.c.id == number
    query = select(t.sweep).where(by_id | (t.sweep.c.name == name_or_id)).order_by(by_id.desc(), t.sweep.c.id.desc())
    row = db.execute(query.limit(1)).mappings().first()
    return None if row is None else dict(row)


def sweeps(db: Connection) -> list[dict[str, Any]]:
    """All sweeps, the newest first."""
    return [dict(row) for row in db.execute(select(t.sweep).order_by(t.sweep.c.id.desc())).mappings()]


def heads(db: Connection) -> list[dict[str, Any]]:
    """All sweeps, the newest first, without what was asked for, which takes longest to read."""
    columns = [column for column in t.sweep.c if column.name not in ("spec", "infeasible")]
    return [dict(row) for row in db.execute(select(*columns).order_by(t.sweep.c.id.desc())).mappings()]


def counts(db: Connection, sweep_id: int | None) -> list[tuple[str, str, int, int]]:
    """(GPU type, state, jobs, pipeline loads) of one sweep, or of all."""
    query = (
        select(t.configuration.c.gpu, t.job.c.state, func.count(), func.sum(t.job.c.loads))
        .join(t.configuration, t.configuration.c.id == t.job.c.configuration_id)
        .group_by(t.configuration.c.gpu, t.job.c.state)
        .order_by(t.configuration.c.gpu)
    )
    return [(gpu, state, n, loads) for gpu, state, n, loads in db.execute(of_sweep(query, sweep_id))]


def counts_by_sweep(db: Connection, sweep_ids: Collection[int] | None = None) -> dict[int, dict[str, dict[str, int]]]:
    """Jobs by sweep, GPU type and state, of these sweeps or of all."""
    link, gpu = t.sweep_job.c, t.configuration.c.gpu
    query = (
        select(link.sweep_id, gpu, t.job.c.state, func.count())
        .select_from(t.sweep_job.join(t.job, t.job.c.id == link.job_id).join(t.configuration))
        .group_by(link.sweep_id, gpu, t.job.c.state)
        .order_by(link.sweep_id, gpu)
    )
    if sweep_ids is not None:
        query = query.where(link.sweep_id.in_(sweep_ids))
    jobs: dict[int, dict[str, dict[str, int]]] = {}
    for sweep_id, name, state, count in db.execute(query):
        jobs.setdefault(sweep_id, {}).setdefault(name, {})[state] = count
    return jobs


def newly_done(db: Connection) -> list[dict[str, Any]]:
    """Sweeps whose last open job has ended since the last call: ``sweep, name, done, failed, done_at``.

    One that is open again is told of again. Adaptive ones are done when they are ended.
    """
    sweep = t.sweep.c
    undone = (
        select(sweep.id, sweep.name).where(sweep.done_at.is_(None), ~sweep.cancelled, ~_goes_on()).order_by(sweep.id)
    )
    again = select(sweep.id).where(sweep.done_at.is_not(None), has_open(sweep.id))
    db.execute(update(t.sweep).where(sweep.id.in_(again)).values(done_at=None))
    done = []
    for row in db.execute(undone).all():
        if _is_open(db, row.id):
            continue
        states = {counted.state: counted.jobs for counted in db.execute(_states(row.id))}
        if not states:  # everything was measured before
            continue
        at = db.execute(update(t.sweep).where(sweep.id == row.id).values(done_at=now()).returning(sweep.done_at))
        counts = {"done": states.get(JobState.DONE, 0), "failed": states.get(JobState.FAILED, 0)}
        done.append({"sweep": row.id, "name": row.name, **counts, "done_at": at.scalar_one()})
    return done


def _goes_on() -> ColumnElement[bool]:
    """Whether a sweep is an adaptive one that may still ask for more."""
    adaptive = t.adaptive_sweep.c
    return exists().where(adaptive.sweep_id == t.sweep.c.id, adaptive.ended_at.is_(None))


def _is_open(db: Connection, sweep_id: int) -> bool:
    """Whether a sweep wants a job that is queued or runs. From its end: what is open is there mostly."""
    link = t.sweep_job.c
    query = (
        select(link.job_id)
        .join(t.job, t.job.c.id == link.job_id)
        .where(link.sweep_id == sweep_id, OPEN)
        .order_by(link.job_id.desc())
    )
    return db.execute(query.limit(1)).first() is not None


def _states(sweep_id: int) -> Select[Any]:
    return select(t.job.c.state, func.count().label("jobs")).where(_in(sweep_id)).group_by(t.job.c.state)


def open_ids(db: Connection) -> list[int]:
    """Sweeps that want a job which is queued or runs."""
    query = select(t.sweep_job.c.sweep_id).join(t.job, t.job.c.id == t.sweep_job.c.job_id).where(OPEN).distinct()
    return list(db.execute(query.order_by(t.sweep_job.c.sweep_id)).scalars())


def failed_jobs(db: Connection, sweep_ids: Collection[int]) -> int:
    """How many jobs of these sweeps failed for good."""
    wanted = select(t.sweep_job.c.job_id).where(t.sweep_job.c.sweep_id.in_(sweep_ids))
    query = select(func.count()).select_from(t.job).where(t.job.c.state == JobState.FAILED, t.job.c.id.in_(wanted))
    return int(db.execute(query).scalar_one())


def set_priority(db: Connection, sweep_id: int, priority: int) -> int:
    """Have the sweep's jobs run before those of sweeps with a smaller number; how many are open."""
    db.execute(update(t.sweep).where(t.sweep.c.id == sweep_id).values(priority=priority))
    rank(db, sweep_id)
    return int(db.execute(select(func.count()).select_from(t.job).where(OPEN, _in(sweep_id))).scalar_one())


def rank(db: Connection, sweep_id: int) -> None:
    """Give the sweep's open jobs the highest priority of the sweeps that want them now: after any change of those."""
    link, sweep = t.sweep_job.alias(), t.sweep.alias()
    highest = (
        select(func.coalesce(func.max(sweep.c.priority), 0))
        .select_from(link.join(sweep, sweep.c.id == link.c.sweep_id))
        .where(link.c.job_id == t.job.c.id, ~sweep.c.cancelled, ~sweep.c.paused)
        .correlate(t.job)
        .scalar_subquery()
    )
    changed = leases.free(and_(OPEN, _in(sweep_id), t.job.c.rank != -highest))
    db.execute(update(t.job).where(changed).values(rank=-highest))


def pause(db: Connection, sweep_id: int) -> int:
    """Hold the sweep's queued jobs, less those that another sweep wants now; how many. What runs, runs to its end."""
    db.execute(update(t.sweep).where(t.sweep.c.id == sweep_id).values(paused=True))
    where = and_(_in(sweep_id), ~_wanted_elsewhere(sweep_id), ~t.job.c.held)
    queued = db.execute(update(t.job).where(t.job.c.state == JobState.QUEUED, where).values(held=True)).rowcount
    db.execute(update(t.job).where(leases.RUNNING, where).values(held=True))  # should one come back to the queue
    rank(db, sweep_id)
    return queued


def resume(db: Connection, sweep_id: int) -> int:
    """Let the jobs go again. Their messages are sent anew, since workers dropped those that came meanwhile."""
    db.execute(update(t.sweep).where(t.sweep.c.id == sweep_id).values(paused=False))
    where = and_(_in(sweep_id), t.job.c.held)
    db.execute(update(t.job).where(leases.RUNNING, where).values(held=False))
    queued = db.execute(update(t.job).where(where).values(held=False, sent_at=None)).rowcount
    rank(db, sweep_id)
    return queued


def cancel(db: Connection, sweep_id: int, reason: str, *, running: bool = True) -> int:
    """End the sweep: its open jobs that no other sweep wants.

    Without ``running`` only those that are queued, and that nobody holds locked: they are ended the next time.
    """
    db.execute(update(t.sweep).where(t.sweep.c.id == sweep_id).values(cancelled=True, cancel_reason=reason))
    states = OPEN_STATES if running else (JobState.QUEUED,)
    where = and_(t.job.c.state.in_(states), _in(sweep_id), ~_wanted_elsewhere(sweep_id, even_paused=True))
    if running:
        busy = db.execute(select(t.job.c.id, t.job.c.attempt).where(where, leases.RUNNING).with_for_update())
        for row in busy.all():
            leases.end_attempt(db, row.id, row.attempt, AttemptEnd.CANCELLED, reason)
    done = db.execute(
        update(t.job)
        .where(where if running else leases.free(where))
        .values(
            state=JobState.CANCELLED,
            reason=reason,
            held=False,
            worker=None,
            lease_until=None,
            finished_at=now(),
        )
    )
    only_paused = and_(OPEN, _in(sweep_id), ~_wanted_elsewhere(sweep_id))  # what is left is another sweep's
    db.execute(update(t.job).where(leases.free(only_paused)).values(held=True))
    rank(db, sweep_id)
    return done.rowcount


def has_open(sweep_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a sweep wants a job that is queued or runs."""
    link = t.sweep_job.c
    return exists().where(link.sweep_id == sweep_id, link.job_id == t.job.c.id, OPEN)


def has_queued(sweep_id: ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a sweep wants a job that is queued."""
    link = t.sweep_job.c
    return exists().where(link.sweep_id == sweep_id, link.job_id == t.job.c.id, t.job.c.state == JobState.QUEUED)


def retry(db: Connection, sweep_id: int) -> int:
    """Queue what failed once more, with a fresh count of attempts, unless the configuration is open already."""
    other = t.job.alias()
    open_already = exists().where(
        other.c.configuration_id == t.job.c.configuration_id,
        other.c.replicate == t.job.c.replicate,
        other.c.state.in_(OPEN_STATES),
    )
    where = and_(t.job.c.state == JobState.FAILED, _in(sweep_id), ~open_already)
    paused = db.execute(select(t.sweep.c.paused).where(t.sweep.c.id == sweep_id)).scalar_one()
    held = ~_wanted_elsewhere(sweep_id) if paused else False
    queued = leases.requeue(db, where, tries=0, not_before=0.0, reason=None, held=held)
    rank(db, sweep_id)
    return queued


def _in(sweep_id: int) -> ColumnElement[bool]:
    return t.job.c.id.in_(select(t.sweep_job.c.job_id).where(t.sweep_job.c.sweep_id == sweep_id))


def _wanted_elsewhere(sweep_id: int, *, even_paused: bool = False) -> ColumnElement[bool]:
    """Another sweep, neither cancelled nor (unless ``even_paused``) paused, wants the job."""
    link, sweep = t.sweep_job.alias(), t.sweep.alias()
    return exists().where(
        link.c.job_id == t.job.c.id,
        link.c.sweep_id == sweep.c.id,
        sweep.c.id != sweep_id,
        ~sweep.c.cancelled,
        *([] if even_paused else [~sweep.c.paused]),
    )


def of_sweep(query: SelectT, sweep_id: int | None) -> SelectT:
    """A query over jobs, narrowed to those that a sweep wants; for None to those of all sweeps, which health checks
    are none of."""
    if sweep_id is None:
        return query.where(t.job.c.only_device.is_(None))
    return query.join(t.sweep_job, t.sweep_job.c.job_id == t.job.c.id).where(t.sweep_job.c.sweep_id == sweep_id)
