"""The log of a device read through NVML: its energy counter at the edges of its ticks, power, and circumstances.

A counter stands still and then jumps, every 20 to 100 ms. Reading it fast would find the jumps but makes some boards
under-count, so the sampler learns the period once (``workers.meters.nvml.probe``) and then reads just before and just
after the next predicted jump: two readings that bracket it within a few milliseconds. Every bracket corrects the
prediction.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from farm.domain import DeviceLost
from workers.device.nvml.device import NvmlDevice
from workers.device.processes import DeviceProcesses
from workers.meters.base import Probe, Recording
from workers.meters.clock import Clock, Stop
from workers.meters.nvml.probe import CounterProbe

COUNTER_SECONDS: Final = 0.1  # a bracket at most so often
SLOW_COUNTER_SECONDS: Final = 1.0  # where reading makes the counter lose energy
POWER_SECONDS: Final = 0.05
LOST_SECONDS: Final = 3600.0  # a device that is gone is not asked again
TELEMETRY_SECONDS: Final = 1.0
GUARD_SECONDS: Final = 0.0015  # half of a bracket, to begin with
SMALLEST_GUARD_SECONDS: Final = 0.0008
LARGEST_GUARD_PART: Final = 0.125  # of the tick
RETRIES: Final = 6  # readings after a predicted edge, before the next is aimed at


class Sampler:
    """Logs while it is driven. One log at a time; times are the clock's."""

    def __init__(
        self,
        device: NvmlDevice,
        clock: Clock,
        probe: CounterProbe,
        read_power: Callable[[], float | None] | None,
        processes: DeviceProcesses,
    ) -> None:
        self._device = device
        self._clock = clock
        self._probe = probe
        self._read_power = read_power
        self._processes = processes
        self._stop: Stop | None = None
        self._counter: list[tuple[float, float, float]] = []
        self._power: list[tuple[float, float]] = []
        self._telemetry: list[dict[str, Any]] = []
        self._events: list[dict[str, Any]] = []
        self._power_due = self._telemetry_due = self._counter_due = 0.0
        self._edge = 0.0  # predicted time of the next update of the counter that is to be bracketed
        self._tick = probe.tick or 0.0
        self._guard = GUARD_SECONDS
        self._before: float | None = None  # what the counter said before the edge; None: not yet asked
        self._tries = 0
        self._throttle: int | None = None  # reasons last logged

    def start(self) -> None:
        self.stop()
        self._clear()
        self._stop = self._clock.drive(self.poll)

    def stop(self) -> None:
        stop, self._stop = self._stop, None
        if stop is not None:
            stop()

    def recording(self, probe: Probe) -> Recording:
        return Recording(
            counter=tuple(self._counter),
            power=tuple(self._power),
            telemetry=tuple(self._telemetry),
            events=tuple(self._events),
            probe=probe,
        )

    @property
    def lost(self) -> bool:
        return any(event["event"] == "lost" for event in self._events)

    def poll(self) -> float:
        """Do what is due; when to be called next."""
        now = self._clock.now()
        try:
            if now >= self._power_due:
                self._log_power()
                if self._device.throttle_reasons() != self._throttle:  # may last for less than telemetry would see
                    self._telemetry_due = now
                self._power_due = max(self._power_due + POWER_SECONDS, now)
            if now >= self._telemetry_due:
                self._log_telemetry()
                self._telemetry_due = max(self._telemetry_due + TELEMETRY_SECONDS, now)
            if now >= self._counter_due:
                self._counter_due = self._follow_counter()
        except DeviceLost as error:
            self._events.append({"event": "lost", "time": now, "message": str(error)})
            return now + LOST_SECONDS
        return min(self._power_due, self._telemetry_due, self._counter_due)

    def _clear(self) -> None:
        now = self._clock.now()
        self._counter, self._power, self._telemetry, self._events = [], [], [], []
        self._power_due = self._telemetry_due = now
        self._counter_due = now if self._probe.has_counter else math.inf
        self._edge = self._probe.next_edge(now)
        self._guard = GUARD_SECONDS
        self._before = None
        self._tries = 0

    def _log_power(self) -> None:
        if self._read_power is not None:
            asked = self._clock.now()
            watts = self._read_power()
            if watts is not None:
                self._power.append(((asked + self._clock.now()) / 2, watts))

    def _log_telemetry(self) -> None:
        device = self._device
        pids = device.processes()
        occupants = None if pids is None else self._processes.tell_apart(pids)
        self._throttle = device.throttle_reasons()
        self._telemetry.append(
            {
                "time": self._clock.now(),
                "celsius": device.temperature_celsius(),
                "sm_mhz": device.sm_clock_mhz(),
                "memory_mhz": device.memory_clock_mhz(),
                "throttle": self._throttle,
                "limit_watts": device.power_limit_watts(),
                "mig": device.mig(),
                "foreign": None if occupants is None else sorted(occupants.foreign),
                "unknown": None if occupants is None else sorted(occupants.unknown),
            }
        )

    def _read_counter(self) -> float | None:
        asked = self._clock.now()
        joules = self._device.counter_joules()
        if joules is not None:
            self._counter.append((asked, self._clock.now(), joules))
        return joules

    def _follow_counter(self) -> float:
        """One reading: before the edge, after it, or again after it where it has not come. When the next one is due."""
        joules = self._read_counter()
        now = self._clock.now()
        if not self._tick or self._probe.poll_sensitive:
            return now + (SLOW_COUNTER_SECONDS if self._probe.poll_sensitive else COUNTER_SECONDS / 2)
        if joules is None:
            self._aim(now, self._edge)
        elif self._before is None:
            self._before, self._tries = joules, 0
            return max(self._edge + self._guard, now)
        elif joules != self._before:
            hit = (self._counter[-2][0] + self._counter[-1][1]) / 2
            narrow = self._tries == 0
            self._guard = max(SMALLEST_GUARD_SECONDS, 0.95 * self._guard) if narrow else self._wider()
            self._aim(now, hit if not narrow else self._edge + 0.3 * (hit - self._edge))
        elif self._tries < RETRIES:
            self._tries += 1
            return now + float(min(self._guard * 2**self._tries, self._tick / 4))
        else:
            self._guard = self._wider()
            self._aim(now, now)
        return max(self._edge - self._guard, now)

    def _wider(self) -> float:
        return min(1.5 * self._guard, LARGEST_GUARD_PART * self._tick)

    def _aim(self, now: float, edge: float) -> None:
        """Predict the next edge to bracket from one that was seen."""
        self._before = None
        stride = max(1, math.ceil(COUNTER_SECONDS / self._tick - 1e-6)) * self._tick
        self._edge = edge + stride
        while self._edge - self._guard <= now:
            self._edge += self._tick
