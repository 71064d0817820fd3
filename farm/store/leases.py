"""Claims, leases and how attempts end. Every function here locks the job's row before it looks, so that of several
workers one wins: PostgreSQL by SELECT ... FOR UPDATE, SQLite because a writing transaction is alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    ScalarSelect,
    Select,
    and_,
    bindparam,
    func,
    select,
    text,
    update,
)

from farm.domain import AttemptEnd, Configuration, Job, JobState, RequestError
from farm.domain.event import EventKind
from farm.store import devices, events
from farm.store import tables as t
from farm.store.clock import now
from farm.store.postgres import LATER

RUNNING = t.job.c.state == JobState.RUNNING
_CONFIGURATION = tuple(t.configuration.c[name] for name in Configuration.__dataclass_fields__)
_JOB = tuple(t.job.c[name] for name in Job.__dataclass_fields__ if name != "configuration")
_OF: BindParameter[int] = bindparam("of")  # a job's id
REASON_LIMIT = 2000
REFUSED_SECONDS = 2.0  # before a refused job is offered again: another worker may do it; doubled with every refusal
LONGEST_REFUSED_SECONDS = 300.0
FOR_ANOTHER_SECONDS = 1.0  # before a health check is offered again that a worker of another device was sent

# The statements of every job, built once: to build and look up such a statement takes longer than to run it.
_LOAD = (
    select(*_JOB, *_CONFIGURATION, t.job.c.configuration_id)
    .join(t.configuration, t.configuration.c.id == t.job.c.configuration_id)
    .where(t.job.c.id == _OF)
)


def _claimable(*, wait: bool) -> Select[Any]:
    """All that a claim looks at, locked; no row where there is no such job.

    ``wait`` for whoever has the row locked, rather than find no row: a sweep over many jobs holds it for a moment.
    ``urgent`` is the first job of higher priority that waits on the same queue.
    ``due_check`` is the health check that waits for this worker's device: it comes before any other job.
    """
    job, check = t.job.c, t.job.alias().c
    device = devices.served_by(bindparam("asker"))
    due_check = select(func.min(check.id)).where(
        check.only_device == device, check.state == JobState.QUEUED, check.not_before <= now()
    )
    state = (
        job.state,
        job.held,
        job.tries,
        job.worker,
        job.refusals,
        (job.not_before <= now()).label("ripe"),
        _urgent().label("urgent"),
        devices.is_off(device).label("off"),
        due_check.scalar_subquery().label("due_check"),
        and_(job.only_device.is_not(None), job.only_device != func.coalesce(device, "")).label("of_other_device"),
    )
    return _LOAD.add_columns(*state).with_for_update(of=t.job, skip_locked=not wait)


def _urgent() -> ScalarSelect[Any]:
    """Asked with every claim, hence a part of its one statement, and a look into the index job_due."""
    other = t.job.alias("other")
    # Literals, for the reason that farm.store.messages gives.
    waits = text("other.state = 'queued' AND NOT other.held AND other.only_device IS NULL")
    return (
        select(other.c.id)
        .where(waits, other.c.queue == t.job.c.queue, other.c.rank < t.job.c.rank, other.c.not_before <= now())
        .order_by(other.c.rank, other.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .correlate(t.job)
        .scalar_subquery()
    )


_CLAIMABLE = _claimable(wait=True)
_CLAIMABLE_AT_ONCE = _claimable(wait=False)  # by who holds a row already: two that wait for each other wait in vain
_LOAD_LOCKED = _LOAD.add_columns(t.job.c.only_device).with_for_update(of=t.job)
_CLAIM = (
    update(t.job)
    .where(t.job.c.id == _OF)
    .values(
        state=JobState.RUNNING,
        attempt=bindparam("token"),
        tries=t.job.c.tries + 1,
        worker=bindparam("holder"),
        lease_until=now() + bindparam("lease_seconds"),
        reason=None,
        refusals=0,
    )
    .execution_options(**LATER)
)
_BEGIN_ATTEMPT = t.attempt.insert().inline().values(started_at=now(), detail={}).execution_options(**LATER)
_END_ANEW = (
    update(t.attempt)
    .where(t.attempt.c.job_id == _OF, t.attempt.c.number == bindparam("token"))
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
    .where(t.job.c.id == _OF, t.job.c.attempt == bindparam("token"), RUNNING)
    .values(lease_until=now() + bindparam("lease_seconds"))
)
_COUNT_LOAD = update(t.job).where(t.job.c.id == _OF).values(loads=t.job.c.loads + 1).execution_options(**LATER)


class _Claimant(NamedTuple):
    """Who asks for a job, on which terms."""

    worker: str
    queue: str
    lease_seconds: float
    max_attempts: int
    objection: Callable[[Job], str]


def claim(
    db: Connection,
    job_id: int,
    *,
    worker: str,
    queue: str,
    lease_seconds: float,
    max_attempts: int,
    objection: Callable[[Job], str] = lambda _job: "",
) -> Job | None:
    """Take a job, or None. A lease of the same worker is taken anew at once: its child died and was replaced.

    Where a job of higher priority waits on the queue, that one is taken, whose message may stand far behind in the
    broker; the message of the one that was named is sent again.

    Another's lease is respected even when it ran out: the reaper alone knows whether its holder is to blame.

    ``objection`` says why this worker must not measure the job, nothing where it may. A job refused so stays queued,
    with the reason, and is offered again: after a while that doubles, in case nobody can do it.
    """
    return _claim(db, job_id, _Claimant(worker, queue, lease_seconds, max_attempts, objection))


def _claim(db: Connection, job_id: int, claimant: _Claimant, look: Select[Any] = _CLAIMABLE) -> Job | None:
    """The job of that id, or the one that comes before it."""
    worker = claimant.worker
    row = db.execute(look, {"of": job_id, "asker": worker}).first()
    if row is None or row.queue != claimant.queue or row.held:
        return None
    if row.off:
        _leave_to_others(db, row, worker)
        return None
    if row.state == JobState.QUEUED and row.due_check not in (None, job_id):
        _leave_to_others(db, row, worker)
        return _claim(db, row.due_check, claimant, _CLAIMABLE_AT_ONCE)
    if row.of_other_device:
        _leave_to_others(db, row, worker, later_seconds=FOR_ANOTHER_SECONDS)
        return None
    if row.state == JobState.RUNNING:
        if row.worker != worker:
            return None
        end_attempt(db, job_id, row.attempt, AttemptEnd.ERROR, "the worker's process ended without a result")
    elif row.state != JobState.QUEUED or not row.ripe:
        return None
    elif row.urgent is not None and row.due_check is None:  # a health check comes before whatever is urgent
        taken = _claim(db, row.urgent, claimant, _CLAIMABLE_AT_ONCE)
        if taken is not None:
            requeue(db, t.job.c.id == job_id)
            return taken
    return _take(db, row, claimant)


def _take(db: Connection, row: Any, claimant: _Claimant) -> Job | None:
    """Begin the next attempt at a job that was found free; None where it is not to be, which the job says."""
    job_id, worker, max_attempts = row.id, claimant.worker, claimant.max_attempts
    if row.tries >= max_attempts:
        _close(db, job_id, JobState.FAILED, reasons(db, job_id))
        return None
    token = row.attempt + 1
    problem, job = "", None
    try:
        job = _job(row._asdict(), attempt=token)
    except (RequestError, TypeError, ValueError) as error:  # written by somebody else: the domain has no such job
        problem = f"the job's row is not one of this version: {error}"
    if job is not None and (reason := claimant.objection(job)):
        _postpone(db, job_id, row.refusals, reason)
        return None
    db.execute(_CLAIM, {"of": job_id, "token": token, "holder": worker, "lease_seconds": claimant.lease_seconds})
    db.execute(_BEGIN_ATTEMPT, {"job_id": job_id, "number": token, "worker": worker})
    if problem:
        end, detail = AttemptEnd.INFEASIBLE, {"worker": worker}
        fail(db, job_id, token, end, problem, detail=detail, retry=False, max_attempts=max_attempts, back_off=0.0)
    return job


def _postpone(db: Connection, job_id: int, refusals: int, reason: str) -> None:
    delay = min(REFUSED_SECONDS * 2**refusals, LONGEST_REFUSED_SECONDS)
    values = {"refusals": min(refusals + 1, 30), "not_before": now() + delay, "reason": _storable(reason)}
    requeue(db, t.job.c.id == job_id, **values)


def _leave_to_others(db: Connection, row: Any, worker: str, *, later_seconds: float = 0.0) -> None:
    """Have a job's message sent again, since the worker that got it takes another job, or none."""
    if row.state == JobState.RUNNING and row.worker == worker:
        end_attempt(db, row.id, row.attempt, AttemptEnd.ERROR, "the worker's process ended without a result")
        requeue(db, t.job.c.id == row.id)
    elif row.state == JobState.QUEUED:
        not_before = func.greatest if db.dialect.name == "postgresql" else func.max
        requeue(db, t.job.c.id == row.id, not_before=not_before(t.job.c.not_before, now() + later_seconds))


def offer_again(db: Connection, queue: str) -> int:
    """Let the refused jobs of a queue be offered at once: a worker came, or changed, that may do them."""
    refused = (t.job.c.queue == queue) & (t.job.c.state == JobState.QUEUED) & (t.job.c.refusals > 0)
    return requeue(db, free(refused), refusals=0, not_before=0.0, reason=None)


class Locked(NamedTuple):
    """A job that nobody else can change before the transaction ends."""

    job: Job
    configuration_id: int
    only_device: str | None  # of a health check: whose it is


def load_locked(db: Connection, job_id: int) -> Locked | None:
    """The job as it stands, locked; None where there is none of that id."""
    row = db.execute(_LOAD_LOCKED, {"of": job_id}).first()
    return None if row is None else Locked(_job(row._asdict()), row.configuration_id, row.only_device)


def _job(row: Mapping[str, Any], **other: Any) -> Job:
    """A job from a row with the columns _JOB and _CONFIGURATION. RequestError, TypeError or ValueError."""
    configuration = Configuration(**{column.name: row[column.name] for column in _CONFIGURATION})
    return Job(configuration=configuration, **({column.name: row[column.name] for column in _JOB} | other))


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
        _close(db, job_id, JobState.FAILED, reasons(db, job_id))


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
            _close(db, row.id, JobState.FAILED, reasons(db, row.id))
    return len(rows)


def count_load(db: Connection, job_id: int) -> None:
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
    ended = {"of": job_id, "token": number, "why": end, "said": _storable(message), "details": dict(detail or {})}
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


def _storable(text: str) -> str:
    """The text as every database takes it: PostgreSQL stores no NUL, and none stores half of a character, as there is
    in messages that name a file whose name is no UTF-8."""
    return text[:REASON_LIMIT].replace("\0", "?").encode("utf-8", "replace").decode()


def free(where: ColumnElement[bool]) -> ColumnElement[bool]:
    """The jobs that a condition holds for, less those that another session holds locked.

    What sweeps over many jobs changes these: one client that hangs with one row must not stop everybody's.
    """
    return t.job.c.id.in_(select(t.job.c.id).where(where).with_for_update(skip_locked=True))


def _close(db: Connection, job_id: int, state: JobState, reason: str) -> None:
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
