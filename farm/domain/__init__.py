"""Value types and their rules. Standard library only; imports nothing else of the project."""

from farm.domain.configuration import PRECISIONS, SIZES, WEIGHTS, Configuration
from farm.domain.errors import (
    AttemptError,
    DeviceLost,
    FarmError,
    Infeasible,
    MeterError,
    OperationError,
    OutOfMemory,
    RequestError,
)
from farm.domain.job import OPEN_STATES, AttemptEnd, Job, JobState
from farm.domain.measurement import (
    FLAGS,
    INFORMING_FLAGS,
    PHASES,
    SPOILING_FLAGS,
    Failure,
    Measurement,
    PhaseEnergy,
    origin,
)

__all__ = [
    "FLAGS",
    "INFORMING_FLAGS",
    "OPEN_STATES",
    "PHASES",
    "PRECISIONS",
    "SIZES",
    "SPOILING_FLAGS",
    "WEIGHTS",
    "AttemptEnd",
    "AttemptError",
    "Configuration",
    "DeviceLost",
    "Failure",
    "FarmError",
    "Infeasible",
    "Job",
    "JobState",
    "Measurement",
    "MeterError",
    "OperationError",
    "OutOfMemory",
    "PhaseEnergy",
    "RequestError",
    "origin",
]
