"""What a meter is: the interface that every way of reading energy implements.

A meter logs; it does not judge. The procedure says which span of time was what (idle, text, denoise, decode), and
pure functions turn the log and the spans into joules with their uncertainty. So the raw log of every accepted
attempt can be kept, and a better method applied to it later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from workers.clock import Clock


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """What a meter says it is reading."""

    index: int | None
    name: str
    uuid: str | None
    pci_bus_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A stretch of time with one label; its edges are synchronised with the device. Labels: idle, a phase, other."""

    label: str
    start: float  # seconds on the meter's clock
    end: float


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Everything a meter logged between start and stop. Times are seconds on the meter's clock."""

    counter: Sequence[tuple[float, float]]  # (time, joules): cumulative energy, where there is a counter
    power: Sequence[tuple[float, float]]  # (time, watts): instantaneous power, where it can be read
    telemetry: Sequence[Mapping[str, Any]] = ()  # temperature, clocks, throttle reasons, processes
    probe: Mapping[str, Any] = field(default_factory=dict)  # abilities: tick, latency, sensor duty, poll-rate effect
    events: Sequence[Mapping[str, Any]] = ()  # what went wrong while logging: lost, reset, frozen, ...


@dataclass(frozen=True, kw_only=True)
class Energy:
    """What a recording and its spans amount to. ``None`` is unknown, never zero."""

    dynamic_joules: Mapping[str, float | None]  # by label, above idle
    std_joules: Mapping[str, float | None]  # standard uncertainty by label
    total_joules: float | None  # all labels but idle, above idle
    total_std_joules: float | None
    gross_joules: float | None  # idle included
    idle_watts: float | None
    idle_watts_std: float | None
    power_joules: float | None  # the dynamic energy once more, from the power log alone
    systematic_percent: float | None
    flags: tuple[str, ...] = ()
    complete: bool = True  # False: lost on the way, what is there is a part


class Meter(Protocol):
    """Reads one device. Start it, mark spans by its clock, ask for the recording as often as you like, close it."""

    name: str  # nvml, codecarbon, simulated
    flags: tuple[str, ...]  # carried by everything it reads: estimated, simulated
    clock: Clock
    device: Device
    shortest_seconds: float  # windows below it cannot be resolved and are refused

    def start(self) -> None:
        """Begin to log."""

    def edge(self) -> float:
        """The time now, at the edge of a span. Meters that read only when asked read here."""

    def recording(self) -> Recording:
        """Everything logged so far."""

    def energy(self, spans: Sequence[Span]) -> Energy:
        """What the spans of the log cost. Raises WindowTooShort where it cannot be resolved."""

    def environment(self) -> Mapping[str, Any]:
        """Driver, power limit, clocks, temperature, throttle reasons, foreign processes, MIG, identity."""

    def close(self) -> None:
        """Stop logging and let go of the device. May be called twice."""
