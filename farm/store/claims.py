"""Claims: which job a worker gets. The job's row is locked before it is looked at, so that of several workers one
wins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from sqlalchemy import Connection, ScalarSelect, Select, and_, bindparam, func, select, text, update

from farm.domain import AttemptEnd, Job, JobState, RequestError
from farm.domain.text import storable
from farm.store import devices
from farm.store import tables as t
from farm.store.clock import now
from farm.store.leases import LOAD, OF, REASON_LIMIT, close, end_attempt, fail, free, job_of, reasons, requeue
from farm.store.postgres import LATER

REFUSED_SECONDS = 2.0  # before a refused job is offered again: another worker may do it; doubled with every refusal
LONGEST_REFUSED_SECONDS = 300.0
FOR_ANOTHER_SECONDS = 1.0  # before a health check is offered again that a worker of another device was sent


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
    return LOAD.add_columns(*state).with_for_update(of=t.job, skip_locked=not wait)


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
_CLAIM = (
    update(t.job)
    .where(t.job.c.id == OF)
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
        _end_of_dead_child(db, row)
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
        close(db, job_id, JobState.FAILED, reasons(db, job_id))
        return None
    token = row.attempt + 1
    problem, job = "", None
    try:
        job = job_of(row._asdict(), attempt=token)
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
    values = {"refusals": min(refusals + 1, 30), "not_before": now() + delay, "reason": storable(reason[:REASON_LIMIT])}
    requeue(db, t.job.c.id == job_id, **values)


def _leave_to_others(db: Connection, row: Any, worker: str, *, later_seconds: float = 0.0) -> None:
    """Have a job's message sent again, since the worker that got it takes another job, or none."""
    if row.state == JobState.RUNNING and row.worker == worker:
        _end_of_dead_child(db, row)
        requeue(db, t.job.c.id == row.id)
    elif row.state == JobState.QUEUED:
        not_before = func.greatest if db.dialect.name == "postgresql" else func.max
        requeue(db, t.job.c.id == row.id, not_before=not_before(t.job.c.not_before, now() + later_seconds))


def offer_again(db: Connection, queue: str) -> int:
    """Let the refused jobs of a queue be offered at once: a worker came, or changed, that may do them."""
    refused = (t.job.c.queue == queue) & (t.job.c.state == JobState.QUEUED) & (t.job.c.refusals > 0)
    return requeue(db, free(refused), refusals=0, not_before=0.0, reason=None)


def _end_of_dead_child(db: Connection, row: Any) -> None:
    """End the attempt at a job that its own worker asks for again: the process that made it is gone."""
    end_attempt(db, row.id, row.attempt, AttemptEnd.ERROR, "the worker's process ended without a result")
