"""Which jobs the coordinator may send, and which it has sent."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, and_, func, literal_column, select, text, update

from farm.store import leases
from farm.store import tables as t
from farm.store.clock import now

# As literals, not parameters: SQLite uses a partial index only where it can see that the condition is the index's.
DUE = text("job.state = 'queued' AND NOT job.held AND job.sent_at IS NULL")
OPEN = text("job.state IN ('queued', 'running')")


def due(db: Connection, queue: str, limit: int) -> list[int]:
    """Ids of the next jobs to send, in the order in which they are to run."""
    job = t.job.c
    query = select(job.id).where(DUE, job.queue == queue, job.not_before <= now())
    return list(db.execute(query.order_by(job.rank, job.id).limit(limit)).scalars())


def mark_sent(db: Connection, job_ids: Sequence[int]) -> None:
    """Note that their messages go to the broker."""
    _mark(db, job_ids, now())


def mark_unsent(db: Connection, job_ids: Sequence[int]) -> None:
    """Note that they are to be sent again."""
    _mark(db, job_ids, None)


def _mark(db: Connection, job_ids: Sequence[int], sent_at: ColumnElement[float] | None) -> None:
    """A job that a worker has claimed meanwhile stays as it is."""
    if job_ids:
        queued = leases.free(and_(t.job.c.id.in_(job_ids), t.job.c.state == "queued"))
        db.execute(update(t.job).where(queued).values(sent_at=sent_at))


def resend_unclaimed(db: Connection, queue: str, *, waiting: int, older_than: float) -> int:
    """Make due again what was sent ``older_than`` seconds ago and whose message is lost; how many.

    ``waiting`` messages are on the queue, which are the newest that were sent, as a queue is emptied in order: of the
    older ones whatever is unclaimed is lost.
    """
    job = t.job.c
    lost = and_(OPEN, job.queue == queue, job.state == "queued", ~job.held, job.sent_at < now() - older_than)
    if waiting:
        sent = t.job.alias("sent").c
        there = text("sent.state = 'queued' AND NOT sent.held")
        newest = select(sent.id).where(there, sent.queue == queue, sent.sent_at.is_not(None))
        newest = newest.order_by(sent.sent_at.desc(), sent.rank.desc(), sent.id.desc()).limit(waiting)
        lost = and_(lost, job.id.not_in(newest))
    return db.execute(update(t.job).where(leases.free(lost)).values(sent_at=None)).rowcount


def queues(db: Connection) -> list[str]:
    """Queues with open jobs. Jumps from name to name in the index: as fast with a million jobs as with ten."""
    names: list[str] = []
    while True:
        query = select(func.min(t.job.c.queue)).where(OPEN)
        name = db.execute(query.where(t.job.c.queue > names[-1]) if names else query).scalar()
        if name is None:
            return names
        names.append(name)


def open_jobs(db: Connection) -> int:
    """How many jobs are queued or running."""
    return db.execute(select(func.count(literal_column("1"))).select_from(t.job).where(OPEN)).scalar_one()
