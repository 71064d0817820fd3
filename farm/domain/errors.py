"""Every error the project raises on purpose.

FarmError
├── RequestError        the request was wrong            exit 2, one line: field, value, remedy
├── OperationError      the request was fine, the world was not (broker down, disk full)   exit 1
└── AttemptError        one attempt at a job ended without a measurement; says whether another may succeed
    ├── OutOfMemory     does not fit this device: never retried
    ├── Infeasible      cannot run at all here (missing weights, wrong version): never retried
    ├── DeviceLost      the GPU fell off the bus, the driver was reset: retried
    └── MeterError      the meter cannot read, at all or any longer: retried
"""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Collection

from farm.domain.text import one_line


class FarmError(Exception):
    """Base of all errors that are shown to a user as one line, without a traceback."""

    exit_code = 1


class RequestError(FarmError):
    """What was asked for is wrong: names the field, the value and what would be right."""

    exit_code = 2

    def __init__(self, field: str, value: object, remedy: str) -> None:
        self.field = field
        self.value = value
        self.remedy = remedy
        super().__init__(f"{field}: {_shorten(value)}: {remedy}")


def unknown_name(field: str, name: object, known: Collection[str]) -> RequestError:
    """A name that nobody has, with the one that was probably meant and those there are."""
    return RequestError(field, name, f"{did_you_mean(name, known)}known: {', '.join(sorted(known)) or 'none yet'}")


def did_you_mean(name: object, known: Collection[str], *, cutoff: float = 0.6) -> str:
    """The beginning of a remedy: the name that was probably meant; empty where none is near.

    ``cutoff`` is how alike names must be, from 0 to 1, as :func:`difflib.get_close_matches` counts it.
    """
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=cutoff)
    return f"did you mean {near[0]}? " if near else ""


class OperationError(FarmError):
    """The request was fine but could not be carried out."""


class AttemptError(FarmError):
    """One attempt ended without a measurement."""

    reason = "error"
    retry = True


class OutOfMemory(AttemptError):
    """The configuration does not fit the device. ``peak_bytes`` were in use; None where nobody counted."""

    reason = "out_of_memory"
    retry = False

    def __init__(self, message: str, *, peak_bytes: int | None = None) -> None:
        self.peak_bytes = peak_bytes
        super().__init__(message)


class Infeasible(AttemptError):
    """The configuration cannot run at all here: weights are missing, a version is the wrong one."""

    reason = "infeasible"
    retry = False


class DeviceLost(AttemptError):
    """The GPU fell off the bus, or its driver was reset."""

    reason = "device_lost"


class MeterError(AttemptError):
    """The meter cannot read (at all, or any longer): names what is missing and what to do."""


def _shorten(value: object, limit: int = 120) -> str:
    if isinstance(value, datetime.date):  # of YAML; a datetime is one, too
        value = value.isoformat()
    return (one_line(value, limit) or "nothing") if isinstance(value, str) else one_line(repr(value), limit)
