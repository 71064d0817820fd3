"""What a person may want to be told of."""

from __future__ import annotations

import hashlib
from enum import StrEnum


class EventKind(StrEnum):
    """Sorts of events; scripts that receive them tell them apart by these names."""

    SWEEP_DONE = "sweep_done"  # its last open job ended
    JOB_FAILED = "job_failed"  # for good
    DEVICE_OFF = "device_off"  # by a person, by its health checks, or because it is not there
    SPOOL_WAITING = "spool_waiting"  # results lie on a worker's disk and do not get into SQL
    COORDINATOR_GONE = "coordinator_gone"
    FIT_WORSE = "fit_worse"  # a refit errs more on what was held out, and is not used
    TEST = "test"  # `farm events test`


def event_id(kind: EventKind, key: str) -> str:
    """The id of an event, the same whoever notices it: 32 hex digits."""
    return hashlib.sha256(f"{kind} {key}".encode()).hexdigest()[:32]
