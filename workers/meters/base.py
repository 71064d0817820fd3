"""What a meter is: the interface that every way of reading energy implements.

A meter logs; it does not evaluate. The procedure says which span of time was what, and pure functions turn the log and
the spans into joules with their uncertainty. So the raw log of every accepted attempt can be kept, and a better method
applied to it later.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from farm.catalog import Gpu
from workers.device.board import Device
from workers.meters.clock import Clock

IDLE: Final = "idle"  # the baseline: nothing asked of the device
PAD: Final = "pad"  # a short rest beside work: no dynamic energy, but not yet (or no longer) the baseline
OTHER: Final = "other"  # work that is not part of the job; so is all time between the first and last span with no span


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A stretch of time with one label (idle, pad, other, or anything that is to be attributed energy)."""

    label: str
    start: float  # seconds on the meter's clock, both edges synchronised with the device
    end: float

    @property
    def works(self) -> bool:
        """Whether something is asked of the device in it: it may have dynamic energy."""
        return self.label not in (IDLE, PAD)

    @property
    def counts(self) -> bool:
        """Whether that is energy of the job."""
        return self.label not in (IDLE, PAD, OTHER)


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What a meter knows of its readings: found out before the log begins, kept with it. None: not known, or not there.

    ``counter`` is ``exact``, ``ticks`` (it stands still and then jumps) or ``codecarbon``; ``power`` is ``instant`` or
    ``average_1s``, and ``power_source`` the function of NVML that reads it: ``instant``, ``usage`` or ``average``.
    """

    counter: str | None = None
    has_counter: bool = False
    tick: float | None = None  # seconds between updates of the counter
    edge: float = 0.0  # when one update came
    latency: float | None = None  # seconds that one reading of the counter takes
    poll_loss: float | None = None  # part of the idle energy that fast polling loses
    poll_sensitive: bool = False
    power: str | None = None
    power_source: str | None = None
    sensor_duty: float | None = None  # part of the time that the power sensor sees
    limit_watts: float | None = None  # of the board's power
    codecarbon: str | None = None  # its version


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Everything a meter logged since start. Times are seconds on the meter's clock."""

    counter: Sequence[tuple[float, float, float]] = ()  # (asked, answered, joules): cumulative energy
    power: Sequence[tuple[float, float]] = ()  # (time, watts): instantaneous or averaged, as the probe says
    telemetry: Sequence[Mapping[str, Any]] = ()  # temperature, clocks, throttle reasons, processes
    probe: Probe = Probe()
    events: Sequence[Mapping[str, Any]] = ()  # what went wrong while logging: lost, reset, ...


@dataclass(frozen=True, kw_only=True)
class Energy:
    """What a recording and its spans amount to. ``None`` is unknown, never zero."""

    dynamic_joules: Mapping[str, float | None]  # by label, above idle
    std_joules: Mapping[str, float | None]  # standard uncertainty by label
    span_joules: Sequence[float | None]  # dynamic energy of each span, in the order given
    total_joules: float | None  # all attributed labels together, above idle
    total_std_joules: float | None
    gross_joules: float | None  # the same, idle included
    idle_watts: float | None
    idle_watts_std: float | None
    power_joules: float | None = None  # the dynamic energy once more, from the power log alone
    systematic_percent: float | None = None  # gain error of the sensor: does not average out
    flags: tuple[str, ...] = ()
    complete: bool = True  # False: the device was lost on the way, what is there is a part
    notes: Mapping[str, Any] = field(default_factory=dict)  # how it was found: tick, latency, method, error budget


class Meter(Protocol):
    """Reads one device. Open it, ``start`` a log, mark spans with ``edge``, ask for their ``energy``, close it."""

    name: str  # nvml, codecarbon, simulated
    flags: tuple[str, ...]  # carried by everything it reads: estimated, simulated
    clock: Clock
    device: Device
    shortest_seconds: float  # a window below it cannot be resolved: its energy is null, flagged window_too_short
    shortest_idle_seconds: float  # a baseline below it holds too few readings to tell how good it is: it is made longer

    def start(self) -> None:
        """Begin a new log; what was logged before is forgotten."""

    def stop(self) -> None:
        """Stop logging, keep the log. May be called twice."""

    def edge(self) -> float:
        """The time now, at the edge of a span. Meters that read only when asked read here."""

    def steady(self) -> bool:
        """Whether temperature and power have stopped drifting, as far as the meter can tell."""

    def recording(self) -> Recording:
        """Everything logged so far."""

    def energy(self, spans: Sequence[Span]) -> Energy:
        """What the spans of the log cost. At least one span must be idle. Spans must not overlap."""

    def environment(self) -> Mapping[str, Any]:
        """Driver, power limit, clocks, temperature, throttle reasons, foreign processes, MIG, identity."""

    def close(self) -> None:
        """Stop logging and let go of the device. May be called twice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What a meter is to read."""

    gpu: Gpu | None  # its type in the catalog; None: a board that the catalog lacks
    device: int | str | None = None  # NVML index or UUID, or a simulated device's number
    simulate: bool = False
    speed: float | None = None  # simulated seconds in a real one; None: as fast as it goes

    @property
    def is_processor(self) -> bool:
        """Whether it is a processor of the host rather than a GPU."""
        return self.gpu is not None and self.gpu.is_processor


class MeterType(ABC):
    """A meter before it is opened: what it can read, and what it needs. A meter's module exports one as ``METER``.

    Importing that module imports no library of the device's: ``open`` does.
    """

    def objection(self, target: Target) -> str:
        """Why it cannot read such a target, whatever the host, and what would be right; empty where it can."""
        return "a simulated device has a meter of its own: auto, or leave out --simulate" if target.simulate else ""

    def is_default(self, target: Target) -> bool:
        """Whether ``auto`` means this meter for such a target."""
        return False

    def check_host(self, target: Target) -> None:  # noqa: B027  (most need nothing)
        """MeterError where the host lacks what the meter needs besides the device. Takes no time."""

    @abstractmethod
    def open(self, target: Target) -> Meter:
        """The meter, ready to ``start``. MeterError or DeviceLost where it cannot."""
