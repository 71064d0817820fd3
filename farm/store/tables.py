"""The rows in SQL. The database is the truth: what is asked, who does it, what was found.

Times are seconds since 1970 (UTC) by the clock of the database, as floats: portable, and comparable in SQL.
Everything here exists in SQLite and in PostgreSQL; migrations/ holds how a database gets here.
"""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

OPEN = "state IN ('queued', 'running')"


class _Row(SQLModel):
    """Of a table. No row is validated by pydantic: its validators would be built by every command, for nobody."""

    model_config = {"defer_build": True}


class Sweep(_Row, table=True):
    """A grid that someone asked for."""

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True)
    spec: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))  # as read, defaults filled in
    configurations: int
    already_measured: int
    infeasible: list[dict[str, Any]] = Field(sa_column=Column(JSON, nullable=False))
    paused: bool = False
    cancelled: bool = False
    cancel_reason: str | None = None
    deadline: float | None = None
    budget_joules: float | None = None
    # Jobs of a larger number run first.
    priority: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    created_at: float
    done_at: float | None = None  # its last open job has ended, and that was told


class Configuration(_Row, table=True):
    """One point of a sweep; see farm.domain.Configuration."""

    id: int | None = Field(default=None, primary_key=True)
    key: str = Field(unique=True, max_length=32)
    model: str = Field(index=True)
    gpu: str = Field(index=True)
    width: int
    height: int
    steps: int
    precision: str
    cfg: bool
    prompts: int
    batch: int
    weights: str
    size: str
    seed: int = Field(sa_column=Column(BigInteger, nullable=False))
    frames: int = Field(default=1, sa_column=Column(Integer, nullable=False, server_default="1"))


class Job(_Row, table=True):
    """A configuration to be measured. Jobs are to run in the order of (rank, id)."""

    __table_args__ = (
        # One open job a configuration and replicate, whatever sweeps ask for it.
        Index(
            "job_open",
            "configuration_id",
            "replicate",
            unique=True,
            sqlite_where=text(OPEN),
            postgresql_where=text(OPEN),
        ),
        Index(
            "job_due",
            "queue",
            "rank",
            "id",
            sqlite_where=text("state = 'queued' AND NOT held"),
            postgresql_where=text("state = 'queued' AND NOT held"),
        ),
        Index("job_queue_open", "queue", sqlite_where=text(OPEN), postgresql_where=text(OPEN)),
        Index(
            "job_lease",
            "lease_until",
            sqlite_where=text("state = 'running'"),
            postgresql_where=text("state = 'running'"),
        ),
    )

    id: int | None = Field(default=None, primary_key=True)
    sweep_id: int | None = Field(default=None, foreign_key="sweep.id", index=True)  # the sweep that asked first
    configuration_id: int = Field(foreign_key="configuration.id", index=True)
    replicate: int = 0
    queue: str
    state: str = "queued"  # a farm.domain.JobState
    held: bool = False  # every sweep that wants it is paused
    # The highest priority of the sweeps that want it now, negated: one index has all in the order in which they run.
    rank: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    attempt: int = 0  # number of the last claim: the fencing token, only ever grows
    tries: int = 0  # claims that count against max_attempts
    worker: str | None = None  # who holds the lease
    lease_until: float | None = None
    sent_at: float | None = None  # when its message went to the broker; null: to be sent
    not_before: float = 0.0  # back-off after a failure
    refusals: int = 0  # workers, one after another, that must not measure it: see reason
    only_device: str | None = Field(default=None, index=True)  # of a health check: the one device that may take it
    reason: str | None = None  # why it failed or was cancelled; of a queued one, why it was refused last
    loads: int = 0  # pipeline loads that happened for it
    prompts_sha256: str | None = None
    code_version: str
    catalog_version: str
    forecast_seconds: float | None = None  # of one pass, by the law when it was submitted; null: not known
    forecast_joules: float | None = None
    created_at: float
    finished_at: float | None = None


class SweepJob(_Row, table=True):
    """Which sweeps want which job; an open job is shared, not doubled."""

    __tablename__ = "sweep_job"

    sweep_id: int = Field(foreign_key="sweep.id", primary_key=True)
    job_id: int = Field(foreign_key="job.id", primary_key=True, index=True)


class Action(_Row, table=True):
    """What a person, or the coordinator for them, did to a sweep or to measured rows."""

    id: int | None = Field(default=None, primary_key=True)
    at: float
    who: str  # user@host
    role: str | None = None  # of the database's user; null on SQLite, which has none
    action: str
    sweep_id: int | None = Field(default=None, foreign_key="sweep.id", index=True)
    detail: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


class Attempt(_Row, table=True):
    """One try by one worker: who, when, and why it ended."""

    __table_args__ = (UniqueConstraint("job_id", "number"), Index("attempt_started", "started_at"))

    id: int | None = Field(default=None, primary_key=True)
    job_id: int = Field(foreign_key="job.id")
    number: int
    worker: str
    started_at: float
    ended_at: float | None = None
    end: str | None = None  # a farm.domain.AttemptEnd; null while it runs
    message: str | None = None
    detail: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSON, nullable=False))


class Measurement(_Row, table=True):
    """What the accepted attempt found: one a job, by primary key."""

    job_id: int = Field(foreign_key="job.id", primary_key=True)
    measurement_id: str = Field(unique=True)
    configuration_id: int = Field(foreign_key="configuration.id", index=True)
    attempt: int
    worker: str
    energy_joules: float | None = None  # null: not known
    duration_seconds: float
    spoiled: bool
    origin: str  # measured, estimated or simulated
    document: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))  # farm.domain.Measurement, whole
    recorded_at: float
    health: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default="0"))


class LateMeasurement(_Row, table=True):
    """A finding that is not the job's, kept for audit: another attempt was accepted first, or it was not taken."""

    __tablename__ = "late_measurement"

    measurement_id: str = Field(primary_key=True)
    job_id: int = Field(foreign_key="job.id", index=True)
    attempt: int
    worker: str
    document: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    recorded_at: float


class Samples(_Row, table=True):
    """The power log behind a measurement, compressed by whoever wrote it."""

    measurement_id: str = Field(primary_key=True)
    data: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class PromptList(_Row, table=True):
    """Prompts by the SHA-256 of their text: workers need no file."""

    __tablename__ = "prompt_list"

    sha256: str = Field(primary_key=True, max_length=64)
    prompts: list[str] = Field(sa_column=Column(JSON, nullable=False))
    created_at: float


class DatasetRow(_Row, table=True):
    """An imported row; never counted as the farm's own measurement."""

    __tablename__ = "dataset_row"
    __table_args__ = (UniqueConstraint("dataset", "measurement_id"),)

    id: int | None = Field(default=None, primary_key=True)
    dataset: str
    measurement_id: str
    model: str
    gpu: str
    document: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))  # the columns of farm.domain.row
    imported_at: float


class MeasuredRow(_Row, table=True):
    """What lists ask of every measured row, own or imported, in narrow columns: whole documents are slow to sort.

    Goes when its row goes.
    """

    __tablename__ = "measured_row"
    __table_args__ = (
        Index("measured_row_added", "added_at"),
        Index("measured_row_energy", "energy_joules_per_image"),
        Index("measured_row_configuration", "model", "gpu"),
    )

    dataset: str = Field(primary_key=True)  # `farm` for the farm's own
    measurement_id: str = Field(primary_key=True)
    job_id: int | None = Field(default=None, foreign_key="measurement.job_id", ondelete="CASCADE", unique=True)
    dataset_row_id: int | None = Field(default=None, foreign_key="dataset_row.id", ondelete="CASCADE", unique=True)
    model: str
    gpu: str
    width: int
    height: int
    steps: int
    precision: str
    cfg: bool
    prompts: int
    batch: int
    weights: str
    size: str
    seed: int = Field(sa_column=Column(BigInteger, nullable=False))
    frames: int
    energy_joules: float | None = None  # null: not known
    energy_joules_per_image: float | None = None
    energy_std_joules: float | None = None
    duration_seconds: float | None = None
    includes_idle: bool
    flags: str  # each between blanks, so that one is found by LIKE: " simulated idle_drift "
    origin: str  # measured, estimated or simulated
    spoiled: bool
    measured_at: str
    added_at: float  # when it was recorded or imported


class RemovedRow(_Row, table=True):
    """A measured or imported row that somebody took out, and why; fits and lists do not know it any more."""

    __tablename__ = "removed_row"

    id: int | None = Field(default=None, primary_key=True)
    measurement_id: str = Field(index=True)
    dataset: str = Field(index=True)  # `farm` for one of the farm's own, which late_measurement keeps whole
    model: str
    gpu: str
    job_id: int | None = None
    document: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON))  # of an imported row
    reason: str
    action_id: int = Field(foreign_key="action.id")  # who, and when


class Fit(_Row, table=True):
    """A law with numbers, what it rests on and how good it is."""

    id: int | None = Field(default=None, primary_key=True)
    law: str = Field(index=True)
    law_version: str
    code_version: str
    dataset: str  # `farm` for the farm's own
    scope: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    n: int
    data_hash: str
    params: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    params_std: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    metrics: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    document: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))  # whatever else the law states
    created_at: float
    pinned_at: float | None = None  # since when predictions use this one, by somebody's wish; at most one fit
    kept_at: float | None = None  # since when it stays in use, for a refit of its law was worse
    kept_why: str | None = None


class AdaptiveSweep(_Row, table=True):
    """A sweep of whose grid only what the law needs is measured: its target, its budget, how far it is."""

    __tablename__ = "adaptive_sweep"

    sweep_id: int = Field(foreign_key="sweep.id", primary_key=True)
    target_error_percent: float
    budget_joules: float | None = None  # above idle
    budget_seconds: float | None = None  # on devices, one pass of each configuration
    prompts_sha256: str
    expected_error_percent: float | None = None  # of what is not measured; null: not worked out yet
    looked_at: str | None = None  # what was measured, queued and at work when that was worked out
    rounds: int = 0  # how often configurations were chosen
    # By the key of a configuration: the logarithm of the joules that were foreseen when it was chosen, and its spread.
    foreseen: dict[str, list[float]] | None = Field(default=None, sa_column=Column(JSON, nullable=True))
    lease_until: float = 0.0  # of whoever chooses now
    token: int = 0  # of that lease; only ever grows
    ended_at: float | None = None
    end_reason: str | None = None


class Worker(_Row, table=True):
    """A worker as it last said it is."""

    name: str = Field(primary_key=True)
    gpu: str
    queue: str
    device_name: str
    device_uuid: str
    host: str
    machine: str = ""  # tells hosts of one name apart
    pid: int
    code_version: str
    state: str
    job_id: int | None = None
    started_at: float
    seen_at: float
    spool_waiting: int = 0
    drain_requested: bool = False
    facts: str = Field(default="", sa_column=Column(String, nullable=False, server_default=""))  # driver, power limit
    power_watts: float | None = None  # of its device at its last heartbeat; null: not known
    temperature_celsius: float | None = None


class Device(_Row, table=True):
    """A device that workers serve or served: what outlives their processes."""

    uuid: str = Field(primary_key=True)
    worker: str = Field(index=True)  # the name of the last that served it
    gpu: str
    host: str
    facts: str  # as that worker stated them
    off_kind: str | None = None  # maintenance or health, while it takes no jobs
    off_reason: str | None = None
    off_since: float | None = None
    absent_since: float | None = None  # its worker is there and does not find it
    spool_since: float | None = None  # results wait on its worker's disk
    suspect_since: float | None = None  # a health check was bad: what is recorded is flagged until one is good
    # Earlier health checks do not count any more.
    baseline_from: float = Field(default=0.0, sa_column=Column(Float, nullable=False, server_default="0"))


class HealthCheck(_Row, table=True):
    """One measurement of the golden configuration on one device."""

    __tablename__ = "health_check"

    id: int | None = Field(default=None, primary_key=True)
    device_uuid: str = Field(index=True)
    worker: str
    gpu: str
    job_id: int | None = Field(default=None, foreign_key="job.id")
    cause: str  # why it was made
    facts: str  # of the device when it was asked for
    asked_at: float
    checked_at: float | None = None
    verdict: str | None = None  # good, drifted, failed or cancelled; null while it is open
    energy_joules: float | None = None
    deviation_percent: float | None = None  # from the median of the baseline
    limit_percent: float | None = None  # beyond which a deviation is drift
    why: str | None = None


class Event(_Row, table=True):
    """Something that a person wants to be told of; kept until it was sent, and afterwards."""

    id: str = Field(primary_key=True, max_length=32)  # the same for the same event, whoever writes it
    kind: str = Field(index=True)
    text: str  # one line
    document: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    created_at: float
    sent_at: float | None = Field(default=None, index=True)
    tries: int = 0
    not_before: float = 0.0  # the next try
    delivered: list[str] = Field(default_factory=list, sa_column=Column(JSON, nullable=False))  # receivers that have it
    error: str | None = None  # why the last try failed


class Coordinator(_Row, table=True):
    """When a coordinator was last here; the reaper's gap rule rests on it."""

    name: str = Field(primary_key=True)
    seen_at: float


class RefitState(_Row, table=True):
    """One row: how many results the last refit covered, and who refits now."""

    __tablename__ = "refit_state"

    id: int = Field(primary_key=True)
    covered: int = 0
    lease_until: float = 0.0
    token: int = 0


class FarmIdentity(_Row, table=True):
    """One row, made with the tables: which database this is, wherever it is reached."""

    __tablename__ = "farm_identity"

    id: str = Field(primary_key=True, max_length=32)


class Lock(_Row, table=True):
    """Rows to lock: one submission at a time (SQLite has one writer anyway)."""

    name: str = Field(primary_key=True)


def _table(model: type[SQLModel]) -> Table:
    return cast(Table, model.__table__)  # type: ignore[attr-defined]


sweep = _table(Sweep)
configuration = _table(Configuration)
job = _table(Job)
sweep_job = _table(SweepJob)
action = _table(Action)
attempt = _table(Attempt)
measurement = _table(Measurement)
late_measurement = _table(LateMeasurement)
samples = _table(Samples)
prompt_list = _table(PromptList)
dataset_row = _table(DatasetRow)
measured_row = _table(MeasuredRow)
removed_row = _table(RemovedRow)
fit = _table(Fit)
adaptive_sweep = _table(AdaptiveSweep)
worker = _table(Worker)
device = _table(Device)
health_check = _table(HealthCheck)
event = _table(Event)
coordinator = _table(Coordinator)
refit_state = _table(RefitState)
lock = _table(Lock)
farm_identity = _table(FarmIdentity)
