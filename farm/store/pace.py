"""What is still to be done on each queue, and how long jobs took of late."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, func, or_, select, text

from farm.domain import AttemptEnd, JobState
from farm.store import tables as t
from farm.store.clock import now
from farm.store.messages import OPEN
from farm.store.sweeps import of_sweep

RECENT = 100  # attempts of a GPU type from which its pace is taken
LOGS = 50  # raw logs from whose sizes others are estimated


@dataclass(frozen=True, slots=True)
class Backlog:
    """Queued jobs of one GPU type that nobody holds."""

    gpu: str
    queue: str
    jobs: int
    forecast_seconds: float  # of those that have a forecast
    longest_seconds: float
    without_forecast: int


@dataclass(frozen=True, slots=True)
class Running:
    """A job at work."""

    gpu: str
    queue: str
    forecast_seconds: float | None
    elapsed_seconds: float


@dataclass(frozen=True, slots=True)
class Timed:
    """An attempt that measured."""

    worker: str
    forecast_seconds: float | None
    started_at: float
    ended_at: float


def backlog(db: Connection, sweep_id: int | None) -> list[Backlog]:
    """What is queued, by GPU type; with a sweep, up to the last of its jobs: what runs before them counts."""
    job, c = t.job.c, t.configuration.c
    counts = (
        c.gpu,
        job.queue,
        func.count().label("jobs"),
        func.coalesce(func.sum(job.forecast_seconds), 0.0),
        func.coalesce(func.max(job.forecast_seconds), 0.0),
        func.count() - func.count(job.forecast_seconds),
    )
    query = select(*counts).join(t.configuration, c.id == job.configuration_id)
    query = query.where(job.state == JobState.QUEUED, ~job.held).group_by(c.gpu, job.queue)
    if sweep_id is not None:
        ends = _ends(db, sweep_id)
        if not ends:
            return []
        before = (and_(job.queue == queue, or_(job.rank < rank, and_(job.rank == rank, job.id <= last)))
                  for queue, (rank, last) in ends.items())  # fmt: skip
        query = query.where(or_(*before))
    return [Backlog(*row) for row in db.execute(query)]


def _ends(db: Connection, sweep_id: int) -> dict[str, tuple[int, int]]:
    """The place (rank, id) of the last queued job of a sweep on each queue."""
    job = t.job.c
    query = select(job.queue, job.rank, func.max(job.id)).where(job.state == JobState.QUEUED, ~job.held)
    ends: dict[str, tuple[int, int]] = {}
    for queue, rank, last in db.execute(of_sweep(query.group_by(job.queue, job.rank), sweep_id)):
        ends[queue] = max(ends.get(queue, (rank, last)), (rank, last))
    return ends


def running(db: Connection) -> list[Running]:
    """Every job at work."""
    job, attempt = t.job.c, t.attempt.c
    elapsed = now() - func.coalesce(attempt.started_at, now())
    query = (
        select(t.configuration.c.gpu, job.queue, job.forecast_seconds, elapsed)
        .select_from(t.job)
        .join(t.configuration, t.configuration.c.id == job.configuration_id)
        .outerjoin(t.attempt, and_(attempt.job_id == job.id, attempt.number == job.attempt))
        .where(OPEN, job.state == JobState.RUNNING)
    )
    return [Running(*row) for row in db.execute(query)]


def recent(db: Connection, gpu: str) -> list[Timed]:
    """The last attempts on a GPU type that measured, the newest first."""
    attempt = t.attempt.c
    query = (
        select(attempt.worker, t.job.c.forecast_seconds, attempt.started_at, attempt.ended_at)
        .join(t.job, t.job.c.id == attempt.job_id)
        .join(t.configuration, t.configuration.c.id == t.job.c.configuration_id)
        .where(t.configuration.c.gpu == gpu, attempt.end == AttemptEnd.ACCEPTED, attempt.ended_at.is_not(None))
        .order_by(attempt.started_at.desc())
        .limit(RECENT)
    )
    return [Timed(*row) for row in db.execute(query)]


def log_bytes_a_second(db: Connection) -> float | None:
    """Bytes of raw log in a second of an attempt; None where none was kept yet."""
    query = text(
        "SELECT sum(bytes), sum(seconds) FROM (SELECT length(samples.data) AS bytes, "
        "attempt.ended_at - attempt.started_at AS seconds FROM samples "
        "JOIN measurement ON measurement.measurement_id = samples.measurement_id "
        "JOIN attempt ON attempt.job_id = measurement.job_id AND attempt.number = measurement.attempt "
        "LIMIT :limit) AS logs"
    )
    total, seconds = db.execute(query, {"limit": LOGS}).one()
    return float(total) / float(seconds) if total and seconds and seconds > 0 else None
