"""Results in SQL: the first accepted measurement of a job wins by primary key, later ones are kept for audit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, exists, select, update

from farm.domain import AttemptEnd, JobState, Measurement, RequestError, origin
from farm.domain.measurement import SUSPECT
from farm.domain.row import Row
from farm.store import health, leases, rows
from farm.store import tables as t
from farm.store.clock import now
from farm.store.postgres import LATER

# The statements of every job, built once: to build and look up such a statement takes longer than to run it.
_OF: BindParameter[int] = bindparam("of")  # a job's id
_ID: BindParameter[str] = bindparam("named")  # a measurement's
_BY: BindParameter[str] = bindparam("by")  # a worker's name
_STORED = select(
    select(t.measurement.c.job_id).where(t.measurement.c.measurement_id == _ID).scalar_subquery().label("accepted_for"),
    exists().where(t.late_measurement.c.measurement_id == _ID).label("late"),
    exists().where(t.measurement.c.job_id == _OF).label("taken"),
    health.is_suspect(_BY).label("suspect"),
)
_KEEP_SAMPLES = t.samples.insert().execution_options(**LATER)
_KEEP_LATE = t.late_measurement.insert().values(recorded_at=now()).execution_options(**LATER)
_ACCEPT = t.measurement.insert().values(recorded_at=now()).execution_options(**LATER)
_DONE = (
    update(t.job)
    .where(t.job.c.id == _OF)
    .values(state=JobState.DONE, reason=None, worker=None, lease_until=None, finished_at=now())
    .execution_options(**LATER)
)
_CANCEL_OTHERS = (
    update(t.attempt)
    .where(t.attempt.c.job_id == _OF, t.attempt.c.end.is_(None))
    .values(end=AttemptEnd.CANCELLED, message=bindparam("said"), ended_at=now())
    .execution_options(**LATER)
)


def record(
    db: Connection,
    job_id: int,
    attempt: int,
    worker: str,
    measurement: Measurement,
    *,
    samples: bytes | None = None,
    accept: bool = True,
) -> bool:
    """Whether the measurement is now the job's. The same measurement again changes nothing and answers the same.

    RequestError: it can never be stored here; trying again is of no use.
    Not fenced: an hour of valid data is not thrown away because its lease ran out meanwhile.
    """
    measurement.check()
    locked = leases.load_locked(db, job_id)
    if locked is None:
        raise RequestError("job", job_id, "not in this database, so its measurement cannot be stored")
    job = locked.job
    if job.configuration != measurement.configuration:
        raise RequestError("job", job_id, "the measurement is of another configuration")
    # Asked for now that the row is locked: what a statement that waited for the lock saw of other tables is older.
    stored = db.execute(_STORED, {"of": job_id, "named": measurement.measurement_id, "by": worker}).one()
    if stored.accepted_for not in (None, job_id):
        other = stored.accepted_for
        raise RequestError("measurement", measurement.measurement_id, f"already stored for job {other}, not {job_id}")
    if stored.accepted_for is not None or stored.late:
        return stored.accepted_for is not None
    if stored.suspect and SUSPECT not in measurement.flags:
        measurement = replace(measurement, flags=(*measurement.flags, SUSPECT))
    if samples is not None:
        db.execute(_KEEP_SAMPLES, {"measurement_id": measurement.measurement_id, "data": samples})
    of_attempt: dict[str, Any] = {
        "measurement_id": measurement.measurement_id,
        "job_id": job_id,
        "attempt": attempt,
        "worker": worker,
        "document": measurement.to_dict(),
    }
    if accept and not stored.taken:
        _accept(db, locked, attempt, measurement, of_attempt)
        return True
    db.execute(_KEEP_LATE, of_attempt)
    if stored.taken:
        leases.end_attempt(db, job_id, attempt, AttemptEnd.LATE, "another attempt was accepted first", anew=True)
    return False


def _accept(
    db: Connection, locked: leases.Locked, attempt: int, measurement: Measurement, of_attempt: dict[str, Any]
) -> None:
    job, of_check = locked.job, locked.only_device is not None
    facts = {
        "configuration_id": locked.configuration_id,
        "energy_joules": measurement.energy_joules,
        "duration_seconds": measurement.duration_seconds,
        "spoiled": measurement.spoiled,
        "origin": origin(measurement.flags),
        "health": of_check,
    }
    db.execute(_ACCEPT, of_attempt | facts)
    if not of_check:  # the same small configuration every night is no result that a list or a fit should hold
        rows.add(db, Row.of(measurement), measurement_id=measurement.measurement_id, added_at=now(), job_id=job.id)
    late = "" if attempt == job.attempt else "its result came after its lease had been given on"
    leases.end_attempt(db, job.id, attempt, AttemptEnd.ACCEPTED, late, anew=True)
    if job.attempt > 1:  # else there are no others
        db.execute(_CANCEL_OTHERS, {"of": job.id, "said": f"attempt {attempt} was accepted first"})
    db.execute(_DONE, {"of": job.id})
