"""What an attempt found: energy with its uncertainty, phase by phase, and under which circumstances."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

from farm.domain.configuration import Configuration
from farm.domain.errors import RequestError
from farm.domain.parsing import MAX_JOULES, MAX_TEXT

PHASES: Final = ("text", "denoise", "decode")

# The row is kept, but fits leave it out.
SPOILING_FLAGS: Final = frozenset(
    {
        "counter_reset", "counter_frozen", "counter_power_disagree", "gpu_lost", "throttled_thermal", "throttled_brake",
        "foreign_process", "mig_enabled", "idle_drift", "window_too_short", "wrong_device", "nonfinite_output",
    }
)  # fmt: skip
# The row is good; estimated and simulated rows are fitted only among their own kind.
SUSPECT: Final = "device_suspect"  # no good health check of the device since
INFORMING_FLAGS: Final = frozenset({"counter_unsupported", "throttled_power_cap", "estimated", "simulated", SUSPECT})
FLAGS: Final = SPOILING_FLAGS | INFORMING_FLAGS


def origin(flags: frozenset[str] | set[str] | tuple[str, ...]) -> str:
    """Tell by a row's flags whether it is ``measured``, ``estimated`` or ``simulated``: origins are never fitted
    together."""
    return "simulated" if "simulated" in flags else "estimated" if "estimated" in flags else "measured"


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseEnergy:
    """What one phase took above idle, all prompts of one pass together."""

    joules: float | None  # None: not known, never 0 for unknown
    seconds: float
    std_joules: float | None = None  # standard uncertainty


RENAMED_KEYS: Final = {"twin": "comparison"}  # of a measurement's environment


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """The accepted finding of an attempt. Energies are of all prompts together, idle subtracted, in joules."""

    measurement_id: str  # unique; rows with the same id are duplicates
    configuration: Configuration
    energy_joules: float | None
    energy_std_joules: float | None  # standard uncertainty: tick, sensor duty, idle, repeats
    systematic_percent: float | None = None  # sensor gain error, stated apart: it does not average out
    idle_watts: float | None  # weights resident
    idle_watts_std: float | None = None
    cold_idle_watts: float | None = None  # no context on the device
    duration_seconds: float  # of one pass over all prompts, synchronised
    phases: Mapping[str, PhaseEnergy] = field(default_factory=dict)  # keys of PHASES
    forwards: int | None = None  # denoiser forward calls of one pass
    forward_batch: int | None = None  # samples in each of them
    repeats: int = 1  # passes that were averaged
    stop_reason: str = ""  # why no further pass was made
    meter: str
    flags: tuple[str, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    measured_at: str  # ISO 8601, UTC

    def __post_init__(self) -> None:
        unknown = set(self.flags) - FLAGS
        if unknown:
            raise RequestError("flags", sorted(unknown), f"flags are {', '.join(sorted(FLAGS))}")
        for name in ("energy_joules", "energy_std_joules", "idle_watts"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise RequestError(name, value, "a finite number, or null when it is not known")

    def check(self) -> None:
        """RequestError for a value that no database keeps and nobody could show: a measurement need not be one of
        ours, nor of this version."""
        for name in ("measurement_id", "meter", "measured_at", "stop_reason"):
            _check_text(name, getattr(self, name), empty=name == "stop_reason")
        for name in ("energy_joules", "energy_std_joules", "systematic_percent", *IDLE, "duration_seconds"):
            _check_number(name, getattr(self, name))
        if self.duration_seconds is None or not self.duration_seconds >= 0:
            raise RequestError("duration_seconds", self.duration_seconds, "a number, 0 or more")
        for name in ("forwards", "forward_batch", "repeats"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise RequestError(name, value, "a whole number")
        for phase, energy in self.phases.items():
            if phase not in PHASES:
                raise RequestError("phases", phase, f"one of {', '.join(PHASES)}")
            for name in ("joules", "seconds", "std_joules"):
                _check_number(f"phases.{phase}.{name}", getattr(energy, name))
        if not isinstance(self.environment, Mapping):
            raise RequestError("environment", self.environment, "names and what they are")

    @property
    def spoiled(self) -> bool:
        """Kept, but left out of fits: flagged so, or its energy is not known."""
        return self.energy_joules is None or not SPOILING_FLAGS.isdisjoint(self.flags)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready document: the configuration's keys beside the measurement's, as `farm measure --json` prints."""
        document = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "configuration"}
        return {
            **self.configuration.to_dict(),
            **document,
            "phases": {name: asdict(phase) for name, phase in self.phases.items()},
            "flags": list(self.flags),
            "environment": dict(self.environment),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """The measurement of a stored document, one of an earlier version too."""
        names = {f for f in cls.__dataclass_fields__ if f != "configuration"}
        values = {k: v for k, v in document.items() if k in names}
        values["phases"] = {k: PhaseEnergy(**v) for k, v in (document.get("phases") or {}).items()}
        values["flags"] = tuple(document.get("flags") or ())
        values["environment"] = _with_new_names(document.get("environment") or {})
        return cls(configuration=Configuration.from_mapping(document), **values)


IDLE: Final = ("idle_watts", "idle_watts_std", "cold_idle_watts")


def _check_text(field: str, value: Any, *, empty: bool = False) -> None:
    if not isinstance(value, str) or not value.isprintable() or len(value) > MAX_TEXT or not (value or empty):
        raise RequestError(field, value, f"printable text of up to {MAX_TEXT} characters")


def _check_number(field: str, value: Any) -> None:
    """None and NaN are numbers that are not known."""
    if value is None or value != value:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= MAX_JOULES:
        raise RequestError(field, value, "a number that can be measured, or null when it is not known")


def _with_new_names(environment: Mapping[str, Any]) -> dict[str, Any]:
    """The environment with the keys of this version: until 0.1.0 a ``comparison`` was a ``twin``."""
    return {RENAMED_KEYS.get(key, key): value for key, value in environment.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """An attempt that found nothing, as a value."""

    reason: str  # a value of AttemptEnd
    message: str  # one line
    retry: bool
    detail: Mapping[str, Any] = field(default_factory=dict)  # peak_bytes, environment, ...
