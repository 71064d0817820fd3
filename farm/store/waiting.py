"""The queued jobs in groups that wait for the same, and when a coordinator was last here."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, exists, func, select

from farm.domain import OPEN_STATES, AttemptEnd, JobState
from farm.store import tables as t
from farm.store.clock import now
from farm.store.sweeps import of_sweep


@dataclass(frozen=True, slots=True)
class Group:
    """Queued jobs that are alike in all that can make them wait."""

    gpu: str
    queue: str
    held: bool
    sent: bool  # its message went to the broker
    later: bool  # backing off
    refusal: str | None  # why a worker refused them last
    count: int


def queued(db: Connection, sweep_id: int | None) -> list[Group]:
    """All queued jobs of a sweep, or of all sweeps, by GPU type."""
    job = t.job.c
    sent, later = job.sent_at.is_not(None).label("sent"), (job.not_before > now()).label("later")
    # Workers of 0.1.0 hand back what they refuse for a while, and say why in the attempt alone.
    attempt = t.attempt.c
    handed_back = and_(
        attempt.job_id == job.id,
        attempt.number == job.attempt,
        job.not_before > now(),
        attempt.end == AttemptEnd.RELEASED,
    )
    refusal = func.coalesce(job.reason, attempt.message).label("refusal")
    alike = (t.configuration.c.gpu, job.queue, job.held, sent, later, refusal)
    query = (
        select(*alike, func.count().label("jobs"))
        .select_from(t.job.join(t.configuration, t.configuration.c.id == job.configuration_id))
        .outerjoin(t.attempt, handed_back)
        .where(job.state == JobState.QUEUED)
        .group_by(*alike)
        .order_by(t.configuration.c.gpu, job.queue)
    )
    rows = db.execute(of_sweep(query, sweep_id))
    return [Group(r.gpu, r.queue, bool(r.held), bool(r.sent), bool(r.later), r.refusal, r.jobs) for r in rows]


@dataclass(frozen=True, slots=True)
class Gone:
    """A coordinator that was here and is not."""

    key: str  # of this absence and no other
    text: str


def gone(db: Connection, seconds: float) -> Gone | None:
    """Whether every coordinator has been silent for so long, though there was one and jobs are open."""
    last_here = select(func.max(t.coordinator.c.seen_at)).scalar_subquery()
    open_jobs = exists().where(t.job.c.state.in_(OPEN_STATES))
    row = db.execute(
        select(last_here.label("last_here"), (now() - last_here).label("silent"), open_jobs.label("wanted"))
    ).one()
    if row.last_here is None or row.silent < seconds or not row.wanted:
        return None
    return Gone(f"{row.last_here:.3f}", f"the coordinator is gone: silent for {row.silent:.0f} s, and jobs are open")


def coordinator_silence(db: Connection) -> float | None:
    """Seconds since any coordinator was last here; None where none ever was."""
    silence = db.execute(select(now() - func.max(t.coordinator.c.seen_at))).scalar()
    return None if silence is None else max(0.0, float(silence))
