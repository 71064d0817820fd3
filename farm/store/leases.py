"""Leases and how attempts end. Every function here locks the job's row before it looks, so that of several that change
a job one wins: PostgreSQL by SELECT ... FOR UPDATE, SQLite because a writing transaction is alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    bindparam,
    func,
    select,
    update,
)

from farm.domain import AttemptEnd, Job, JobState
from farm.domain.event import EventKind
from farm.domain.text import storable
from farm.store import configurations, events
from farm.store import tables as t
from farm.store.clock import now
from farm.store.postgres import LATER

RUNNING = t.job.c.state == JobState.RUNNING
_JOB = tuple(t.job.c[name] for name in Job.__dataclass_fields__ if name != "configuration")
OF: BindParameter[int] = bindparam("of")  # a job's id
REASON_LIMIT = 2000

# The statements of every job, built once: to build and look up such a statement takes longer than to run it.
LOAD = (
    select(*_JOB, *configurations.COLUMNS, t.job.c.configuration_id)
    .join(t.configuration, t.configuration.c.id == t.job.c.configuration_id)
    .where(t.job.c.id == OF)
)


_LOAD_LOCKED = LOAD.add_columns(t.job.c.only_device).with_for_update(of=t.job)
_END_ANEW = (
    update(t.attempt)
    .where(t.attempt.c.job_id == OF, t.attempt.c.number == bindparam("token"))
    .values(
        end=bindparam("why"),
        message=bindparam("said"),
        detail=bindparam("details", type_=t.attempt.c.detail.type),
        ended_at=func.coalesce(t.attempt.c.ended_at, now()),
    )
    .execution_options(**LATER)
)
_END = _END_ANEW.where(t.attempt.c.end.is_(None))
_HEARTBEAT = (
    update(t.job)
    .where(t.job.c.id == OF, t.job.c.attempt == bindparam("token"), RUNNING)
    .values(lease_until=now() + bindparam("lease_seconds"))
)
_COUNT_LOAD = update(t.job).where(t.job.c.id == OF).values(loads=t.job.c.loads + 1).execution_options(**LATER)


class Locked(NamedTuple):
    """A job that nobody else can change before the transaction ends."""

    job: Job
    configuration_id: int
    only_device: str | None  # of a health check: whose it is


def load_locked(db: Connection, job_id: int) -> Locked | None:
    """The job as it stands, locked; None where there is none of that id."""
    row = db.execute(_LOAD_LOCKED, {"of": job_id}).first()
    return None if row is None else Locked(job_of(row._asdict()), row.configuration_id, row.only_device)


def job_of(row: Mapping[str, Any], **other: Any) -> Job:
    """A job from a row with the columns _JOB and those of its configuration. RequestError, TypeError or ValueError."""
    return Job(configuration=configurations.of_row(row), **({column.name: row[column.name] for column in _JOB} | other))


def heartbeat(db: Connection, job_id: int, attempt: int, *, lease_seconds: float) -> bool:
    """Extend the lease; False where the attempt does not hold it any more."""
    done = db.execute(_HEARTBEAT, {"of": job_id, "token": attempt, "lease_seconds": lease_seconds})
    return done.rowcount == 1


def fail(
    db: Connection,
    job_id: int,
    attempt: int,
    end: AttemptEnd,
    message: str,
    *,
    detail: Mapping[str, Any],
    retry: bool,
    max_attempts: int,
    back_off: float,
) -> None:
    """An attempt found nothing: its job waits ``back_off`` seconds doubled with every try, or has failed. A fenced
    attempt only leaves its reason."""
    row = lock_row(db, job_id)
    end_attempt(db, job_id, attempt, end, message, detail)
    if row is None or row.state != JobState.RUNNING or row.attempt != attempt:
        return
    if retry and row.tries < max_attempts:
        requeue(db, t.job.c.id == job_id, not_before=now() + back_off * 2 ** (row.tries - 1))
    else:
        close(db, job_id, JobState.FAILED, reasons(db, job_id))


def release(db: Connection, job_id: int, attempt: int, message: str) -> None:
    """A worker hands its job back unmeasured; the try is not counted."""
    row = lock_row(db, job_id)
    end_attempt(db, job_id, attempt, AttemptEnd.RELEASED, message)
    if row is not None and row.state == JobState.RUNNING and row.attempt == attempt:
        requeue(db, t.job.c.id == job_id, tries=t.job.c.tries - 1)


def reap(db: Connection, *, max_attempts: int) -> int:
    """Take back every job whose lease expired."""
    return _take_back(db, t.job.c.lease_until < now(), "went silent", max_attempts)


def take_back(db: Connection, worker: str, *, max_attempts: int) -> int:
    """Take back every job that a worker holds, its lease expired or not."""
    return _take_back(db, t.job.c.worker == worker, "was started anew", max_attempts)


def _take_back(db: Connection, where: ColumnElement[bool], why: str, max_attempts: int) -> int:
    rows = db.execute(
        select(t.job.c.id, t.job.c.attempt, t.job.c.tries, t.job.c.worker)
        .where(RUNNING, where)
        .with_for_update(skip_locked=True)
    ).all()
    for row in rows:
        end_attempt(db, row.id, row.attempt, AttemptEnd.LEASE_EXPIRED, f"{row.worker} {why}")
        if row.tries < max_attempts:
            requeue(db, t.job.c.id == row.id)
        else:
            close(db, row.id, JobState.FAILED, reasons(db, row.id))
    return len(rows)


def count_load(db: Connection, job_id: int) -> None:
    """Count that a pipeline was loaded for a job."""
    db.execute(_COUNT_LOAD, {"of": job_id})


def end_attempt(
    db: Connection,
    job_id: int,
    number: int,
    end: AttemptEnd,
    message: str = "",
    detail: Mapping[str, Any] | None = None,
    *,
    anew: bool = False,
) -> None:
    """Write why an attempt ended. The first reason stays, unless ``anew``: what it measured is the better one."""
    ended = {
        "of": job_id,
        "token": number,
        "why": end,
        "said": storable(message[:REASON_LIMIT]),
        "details": dict(detail or {}),
    }
    db.execute(_END_ANEW if anew else _END, ended)


def requeue(db: Connection, where: ColumnElement[bool], **values: Any) -> int:
    """Put jobs back into the queue, their messages to be sent again; how many."""
    done = db.execute(
        update(t.job)
        .where(where)
        .values(
            {"state": JobState.QUEUED, "worker": None, "lease_until": None, "sent_at": None, "finished_at": None}
            | values
        )
    )
    return done.rowcount


def reasons(db: Connection, job_id: int) -> str:
    """Why each attempt of a job ended, in one line."""
    attempt = t.attempt.c
    rows = db.execute(
        select(attempt.number, attempt.end, attempt.message)
        .where(attempt.job_id == job_id, attempt.end != AttemptEnd.RELEASED)
        .order_by(attempt.number)
    )
    return "; ".join(f"attempt {r.number}: {r.end}: {r.message}" for r in rows)[:REASON_LIMIT]


def free(where: ColumnElement[bool]) -> ColumnElement[bool]:
    """The jobs that a condition holds for, less those that another session holds locked.

    What sweeps over many jobs changes these: one client that hangs with one row must not stop everybody's.
    """
    return t.job.c.id.in_(select(t.job.c.id).where(where).with_for_update(skip_locked=True))


def close(db: Connection, job_id: int, state: JobState, reason: str) -> None:
    """End a job in a state that is not open, for a reason; have people told where it failed."""
    db.execute(
        update(t.job)
        .where(t.job.c.id == job_id)
        .values(state=state, reason=reason, worker=None, lease_until=None, finished_at=now())
    )
    if state == JobState.FAILED:
        _tell_of_failure(db, job_id, reason)


def _tell_of_failure(db: Connection, job_id: int, reason: str) -> None:
    """Have people told of a job that failed for good; of a health check its verdict is told instead."""
    columns = (t.job.c.attempt, t.job.c.only_device, t.job.c.sweep_id, t.configuration.c.model, t.configuration.c.gpu)
    joined = t.job.join(t.configuration, t.configuration.c.id == t.job.c.configuration_id)
    job = db.execute(select(*columns).select_from(joined).where(t.job.c.id == job_id)).one()
    if job.only_device is None:
        document = {"job": job_id, "sweep": job.sweep_id, "model": job.model, "gpu": job.gpu, "reason": reason}
        text = f"job {job_id}, {job.model} on {job.gpu}, failed for good: {reason}"
        events.record(db, EventKind.JOB_FAILED, text, document, key=f"{job_id} {job.attempt}")


def lock_row(db: Connection, job_id: int, *more: ColumnElement[Any]) -> Any:
    """The row, which nobody else can change before the transaction ends; None where there is none."""
    job = t.job.c
    columns = (job.state, job.queue, job.held, job.attempt, job.tries, job.worker, job.configuration_id)
    return db.execute(select(*columns, *more).where(job.id == job_id).with_for_update()).first()
