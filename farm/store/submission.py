"""Writing a sweep: configurations and jobs in bulk, within the caller's transaction, so all of it or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select, update

from farm.domain import OPEN_STATES, Configuration, JobState
from farm.store import tables as t
from farm.store.clock import now
from farm.store.upsert import insert

LOOK_BACK = 100  # sweeps of one name


@dataclass(slots=True)
class Tally:
    """What became of the configurations of a sweep."""

    new: int = 0
    already_measured: int = 0
    already_queued: int = 0  # open in another sweep: shared
    failed_before: int = 0  # shared too; `farm sweep retry` gives them another chance
    jobs: int = 0  # written, replicates counted


@dataclass(frozen=True, slots=True)
class Wanted:
    """One job that a sweep wants."""

    configuration: Configuration
    replicate: int
    queue: str
    catalog_version: str
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.configuration.key)


def begin(db: Connection) -> float:
    """Wait for any other submission, so that two at once do not double a job. The database's time."""
    db.execute(select(t.lock.c.name).where(t.lock.c.name == "submit").with_for_update())
    return float(db.execute(select(now())).scalar_one())


def add_sweep(db: Connection, values: Mapping[str, Any]) -> int:
    """Write a sweep's row; its id."""
    made = db.execute(t.sweep.insert().values(**values, paused=False, cancelled=False).returning(t.sweep.c.id))
    return int(made.scalar_one())


def look(db: Connection, wanted: Sequence[Wanted], tally: Tally) -> tuple[list[Wanted], list[int]]:
    """Which of them are new, and which open or failed jobs there are already. Counts both; writes nothing."""
    known = _known_jobs(db, [w.key for w in wanted])
    new: list[Wanted] = []
    shared: list[int] = []
    for want in wanted:
        states = known.get((want.key, want.replicate), {})
        first = want.replicate == 0
        if "measured" in states:
            tally.already_measured += first
        elif "open" in states:
            tally.already_queued += first
            shared.append(states["open"])
        elif "failed" in states:
            tally.failed_before += first
            shared.append(states["failed"])
        else:
            tally.new += first
            tally.jobs += 1
            new.append(want)
    return new, shared


def add_jobs(
    db: Connection,
    wanted: Sequence[Wanted],
    job: Mapping[str, Any],
    forecasts: Sequence[Mapping[str, float | None]] | None = None,
) -> None:
    """Jobs for new configurations, in this order; ``job`` holds the columns that all of them share, ``forecasts`` those
    of each by itself."""
    if not wanted:
        return
    unique = {w.key: w.configuration for w in wanted}
    db.execute(
        insert(db, t.configuration).on_conflict_do_nothing(),
        [{"key": key, **c.to_dict()} for key, c in unique.items()],
    )
    query = select(t.configuration.c.key, t.configuration.c.id).where(t.configuration.c.key.in_(unique))
    ids = {row.key: row.id for row in db.execute(query)}
    db.execute(
        t.job.insert(),
        [
            {
                **job,
                **forecast,
                "configuration_id": ids[w.key],
                "replicate": w.replicate,
                "queue": w.queue,
                "catalog_version": w.catalog_version,
            }
            for w, forecast in zip(wanted, forecasts or [{}] * len(wanted), strict=True)
        ],
    )


def share(db: Connection, sweep_id: int, job_ids: Sequence[int]) -> None:
    """The sweep wants jobs of others, too: they run even where those are paused."""
    if not job_ids:
        return
    rows = [{"sweep_id": sweep_id, "job_id": job_id} for job_id in job_ids]
    db.execute(insert(db, t.sweep_job).on_conflict_do_nothing(), rows)
    held = t.job.c.id.in_(job_ids) & t.job.c.held
    db.execute(update(t.job).where(held).values(held=False, sent_at=None))


def link_new(db: Connection, sweep_id: int) -> None:
    """The sweep wants every job that was written for it."""
    linked = select(t.sweep_job.c.job_id).where(t.sweep_job.c.sweep_id == sweep_id)
    jobs = select(t.job.c.sweep_id, t.job.c.id).where(t.job.c.sweep_id == sweep_id, t.job.c.id.not_in(linked))
    db.execute(t.sweep_job.insert().from_select(["sweep_id", "job_id"], jobs))


def finish(db: Connection, sweep_id: int, values: Mapping[str, Any]) -> None:
    """The counts that are known at the end."""
    db.execute(update(t.sweep).where(t.sweep.c.id == sweep_id).values(**values))


def fold(db: Connection, sweep_id: int) -> int:
    """Forget a sweep without jobs where the same was asked before; the id of that one, otherwise of this."""
    sweep = t.sweep.c
    columns = select(sweep.id, sweep.name, sweep.spec)
    this = db.execute(columns.where(sweep.id == sweep_id)).one()
    earlier = columns.where(sweep.name == this.name, sweep.id < sweep_id, ~sweep.cancelled).order_by(sweep.id.desc())
    for row in db.execute(earlier.limit(LOOK_BACK)):
        if _less_deadline(row.spec) == _less_deadline(this.spec):
            db.execute(t.sweep.delete().where(sweep.id == sweep_id))
            return int(row.id)
    return sweep_id


def _less_deadline(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The sweep file without its deadline, which is another time whenever the same hours from now are asked for."""
    return {name: value for name, value in spec.items() if name != "deadline"}


def _known_jobs(db: Connection, keys: Sequence[str]) -> dict[tuple[str, int], dict[str, int]]:
    """(key, replicate) -> {"measured" | "open" | "failed": job id}. A spoiled measurement does not count as one."""
    query = (
        select(
            t.configuration.c.key,
            t.job.c.replicate,
            t.job.c.id,
            t.job.c.state,
            t.measurement.c.spoiled,
        )
        .join(t.job, t.job.c.configuration_id == t.configuration.c.id)
        .outerjoin(t.measurement, t.measurement.c.job_id == t.job.c.id)
        .where(t.configuration.c.key.in_(keys), t.job.c.state != JobState.CANCELLED)
    )
    known: dict[tuple[str, int], dict[str, int]] = {}
    for row in db.execute(query):
        status = (
            "measured"
            if row.spoiled is False
            else "open"
            if row.state in OPEN_STATES
            else "failed"
            if row.state == JobState.FAILED
            else None
        )
        if status is not None:
            known.setdefault((row.key, row.replicate), {})[status] = row.id
    return known
