"""A job, its states, and how an attempt can end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from farm.domain.configuration import Configuration


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  # waits for a worker; its message may or may not be in the broker
    RUNNING = "running"  # one worker holds the lease
    DONE = "done"  # has its accepted measurement
    FAILED = "failed"  # attempts used up, or an end that no retry can mend
    CANCELLED = "cancelled"  # by a person, a deadline or a joule budget


OPEN_STATES: Final = (JobState.QUEUED, JobState.RUNNING)


class AttemptEnd(StrEnum):
    """Why an attempt ended; null in SQL while it runs."""

    ACCEPTED = "accepted"  # its measurement is the job's
    LATE = "late"  # measured, but another attempt was accepted first; kept for audit
    ERROR = "error"  # failed, may be retried
    DEVICE_LOST = "device_lost"  # the GPU went away, may be retried
    OUT_OF_MEMORY = "out_of_memory"  # never retried
    INFEASIBLE = "infeasible"  # never retried
    LEASE_EXPIRED = "lease_expired"  # the worker went silent; taken back by the coordinator
    RELEASED = "released"  # handed back by a stopping worker; costs no attempt
    CANCELLED = "cancelled"  # the sweep was cancelled while it ran


MAX_JOB_ID: Final = 2**31 - 1  # what the column in SQL holds
PRIORITIES: Final = (-1000, 1000)  # of a sweep, the least and the greatest


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A configuration to be measured, as a worker sees it after a claim."""

    id: int  # positive; all that a Celery message carries
    sweep_id: int | None  # the sweep that asked for it first
    configuration: Configuration
    queue: str  # the Celery queue it travels by
    replicate: int  # 0 for the first
    attempt: int  # the fencing token: 1 for the first attempt
    prompts_sha256: str | None  # the prompt list it must be measured with
    code_version: str  # version that submitted it
    catalog_version: str  # digest of the catalog entries it rests on (farm.catalog.digest)
