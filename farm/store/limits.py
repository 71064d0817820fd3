"""A sweep's deadline and joule budget."""

from __future__ import annotations

from sqlalchemy import Connection, func, or_, select

from farm.store import actions, sweeps
from farm.store import tables as t
from farm.store.clock import now


def enforce(db: Connection, who: str) -> int:
    """Cancel what is queued of every sweep past its deadline or budget; how many jobs. What runs, runs to its end.

    Noted once a sweep, as done by ``who``.
    """
    sweep = t.sweep.c
    limited = db.execute(
        select(sweep.id, sweep.budget_joules, sweep.cancelled, (sweep.deadline < now()).label("late")).where(
            # Cancelled ones again: a job that ran when the limit was reached may have come back to the queue.
            or_(sweep.deadline.is_not(None), sweep.budget_joules.is_not(None)),
            sweeps.has_queued(sweep.id),  # one that has finished stays so
        )
    ).all()
    cancelled = 0
    for row in limited:
        reason = None
        if row.late:
            reason = "the sweep's deadline has passed"
        elif row.budget_joules is not None and (joules := spent(db, row.id)) >= row.budget_joules:
            reason = f"the sweep's budget of {row.budget_joules:g} J is spent ({joules:g} J)"
        if reason is not None:
            jobs = sweeps.cancel(db, row.id, reason, running=False)
            cancelled += jobs
            if not row.cancelled:
                actions.note(db, who, "cancel", sweep_id=row.id, jobs=jobs, reason=reason)
    return cancelled


def spent(db: Connection, sweep_id: int) -> float:
    """Joules above idle of the sweep's measurements; what is not known cannot be counted."""
    joined = t.sweep_job.join(t.measurement, t.measurement.c.job_id == t.sweep_job.c.job_id)
    query = select(func.coalesce(func.sum(t.measurement.c.energy_joules), 0.0)).select_from(joined)
    return float(db.execute(query.where(t.sweep_job.c.sweep_id == sweep_id)).scalar_one())
