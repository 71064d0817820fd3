"""What was found: the first accepted measurement of a job wins by primary key, later ones are kept for audit."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, exists, select, update

from farm.domain import AttemptEnd, Job, JobState, Measurement, RequestError, origin
from farm.domain.measurement import SUSPECT
from farm.domain.row import Row
from farm.store import health, leases, rows
from farm.store import tables as t
from farm.store.clock import now


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
    row = leases.lock_row(db, job_id, t.job.c.only_device)
    job = leases.load(db, job_id)
    if row is None or job is None:
        raise RequestError("job", job_id, "not in this database, so its measurement cannot be stored")
    if job.configuration != measurement.configuration:
        raise RequestError("job", job_id, "the measurement is of another configuration")
    known = _known(db, job_id, measurement.measurement_id)
    if known is not None:
        return known
    if health.is_suspect(db, worker) and SUSPECT not in measurement.flags:
        measurement = replace(measurement, flags=(*measurement.flags, SUSPECT))
    if samples is not None:
        db.execute(t.samples.insert().values(measurement_id=measurement.measurement_id, data=samples))
    taken = db.execute(select(exists().where(t.measurement.c.job_id == job_id))).scalar()
    if accept and not taken:
        _accept(db, job, row.configuration_id, attempt, worker, measurement, of_check=row.only_device is not None)
        return True
    db.execute(
        t.late_measurement.insert().values(
            measurement_id=measurement.measurement_id,
            job_id=job_id,
            attempt=attempt,
            worker=worker,
            document=measurement.to_dict(),
            recorded_at=now(),
        )
    )
    if taken:
        leases.end_attempt(db, job_id, attempt, AttemptEnd.LATE, "another attempt was accepted first", anew=True)
    return False


def _known(db: Connection, job_id: int, measurement_id: str) -> bool | None:
    its_job = db.execute(
        select(t.measurement.c.job_id).where(t.measurement.c.measurement_id == measurement_id)
    ).scalar()
    if its_job is not None:
        if its_job != job_id:
            raise RequestError("measurement", measurement_id, f"already stored for job {its_job}, not {job_id}")
        return True
    late = t.late_measurement.c
    return False if db.execute(select(exists().where(late.measurement_id == measurement_id))).scalar() else None


def _accept(
    db: Connection,
    job: Job,
    configuration_id: int,
    attempt: int,
    worker: str,
    measurement: Measurement,
    *,
    of_check: bool,
) -> None:
    db.execute(
        t.measurement.insert().values(
            job_id=job.id,
            measurement_id=measurement.measurement_id,
            configuration_id=configuration_id,
            attempt=attempt,
            worker=worker,
            energy_joules=measurement.energy_joules,
            duration_seconds=measurement.duration_seconds,
            spoiled=measurement.spoiled,
            origin=origin(measurement.flags),
            document=measurement.to_dict(),
            recorded_at=now(),
            health=of_check,
        )
    )
    if not of_check:  # the same small configuration every night is no result that a list or a fit should hold
        rows.add(db, Row.of(measurement), measurement_id=measurement.measurement_id, added_at=now(), job_id=job.id)
    late = "" if attempt == job.attempt else "its result came after its lease had been given on"
    leases.end_attempt(db, job.id, attempt, AttemptEnd.ACCEPTED, late, anew=True)
    db.execute(
        update(t.attempt)
        .where(t.attempt.c.job_id == job.id, t.attempt.c.end.is_(None))
        .values(end=AttemptEnd.CANCELLED, message=f"attempt {attempt} was accepted first", ended_at=now())
    )
    db.execute(
        update(t.job)
        .where(t.job.c.id == job.id)
        .values(state=JobState.DONE, reason=None, worker=None, lease_until=None, finished_at=now())
    )
