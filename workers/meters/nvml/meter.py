"""The NVML meter: the energy counter with its ticks found and used, and the power log as cross-check and fallback."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from farm import catalog
from farm.domain import DeviceLost
from workers.device.board import Device, types_of
from workers.device.nvml.device import NvmlDevice
from workers.device.processes import DeviceProcesses
from workers.meters.base import Energy, Probe, Recording, Span
from workers.meters.clock import Clock, SystemClock
from workers.meters.nvml.evaluate import AVERAGE_SECONDS, evaluate, shortest_window
from workers.meters.nvml.probe import CounterProbe, probe_counter
from workers.meters.nvml.sampler import COUNTER_SECONDS, SLOW_COUNTER_SECONDS, Sampler

STEADY_CELSIUS: Final = 1.0
STEADY_CELSIUS_SECONDS: Final = 10.0  # of the log: a board warms slowly
STEADY_WATTS_PART: Final = 0.03
STEADY_WATTS: Final = 2.0
STEADY_SECONDS: Final = 5.0  # of the log, for power; and the shortest log that tells
IDLE_READINGS: Final = 6  # in the shortest baseline
# Part of the time that the power sensor sees, by compute capability: GA100 and GH100, arXiv 2312.02741. For boards that
# the catalog lacks.
PART_TIME: Final = {(8, 0): 0.25, (9, 0): 0.25}


class NvmlMeter:
    """Reads one NVIDIA device. Takes some seconds to open: the counter is probed."""

    name = "nvml"
    flags: tuple[str, ...] = ()

    def __init__(self, device: int | str = 0, *, gpu: catalog.Gpu | None = None, clock: Clock | None = None) -> None:
        self.clock = clock or SystemClock()
        self._nvml = NvmlDevice(device)
        try:
            self.device: Device = self._nvml.identity
            self._gpu = gpu or _catalog_entry(self.device.name)
            self._power = _power_source(self._nvml, self._gpu)
            self._limit_watts = self._nvml.power_limit_watts()
            self._duty = _sensor_duty(self._nvml, self._gpu)
            self._probe: CounterProbe = probe_counter(self._nvml, self.clock)
            self._processes = DeviceProcesses(os.getpid(), self._nvml.processes() or frozenset())
        except BaseException:
            self._nvml.close()
            raise
        self.shortest_seconds = shortest_window(self._probe.tick, self._duty)
        self.shortest_idle_seconds = IDLE_READINGS * self._reading_seconds()
        self._sampler = Sampler(self._nvml, self.clock, self._probe, self._power.read, self._processes)

    def _reading_seconds(self) -> float:
        """Seconds between two readings that both tell something new about the idle power."""
        if self._probe.poll_sensitive and self._power.read is None:
            return SLOW_COUNTER_SECONDS
        if not self._probe.has_counter and self._power.quantity == "average_1s":
            return 2 * AVERAGE_SECONDS / IDLE_READINGS  # what came before the log must have left the average
        return max(COUNTER_SECONDS, self._probe.tick or 0.0)

    def start(self) -> None:
        self._sampler.start()

    def stop(self) -> None:
        self._sampler.stop()

    def edge(self) -> float:
        return self.clock.now()

    def steady(self) -> bool:
        if self._sampler.lost:
            return True  # it will not become steadier
        recording, now = self.recording(), self.clock.now()
        if not recording.telemetry or now - recording.telemetry[0]["time"] < STEADY_SECONDS:
            return False
        readings = [t for t in recording.telemetry if t["time"] > now - STEADY_CELSIUS_SECONDS]
        celsius = [t["celsius"] for t in readings if t["celsius"] is not None]
        watts = [w for t, w in recording.power if t > now - STEADY_SECONDS]
        even = not watts or max(watts) - min(watts) <= max(STEADY_WATTS_PART * max(watts), STEADY_WATTS)
        return even and (not celsius or max(celsius) - min(celsius) <= STEADY_CELSIUS)

    def recording(self) -> Recording:
        return self._sampler.recording(
            Probe(
                **asdict(self._probe),
                counter="ticks" if self._probe.tick else "exact" if self._probe.has_counter else None,
                power=self._power.quantity,
                power_source=self._power.name,
                sensor_duty=self._duty,
                limit_watts=self._limit_watts,
            )
        )

    def energy(self, spans: Sequence[Span]) -> Energy:
        return evaluate(self.recording(), spans)

    def environment(self) -> Mapping[str, Any]:
        nvml = self._nvml
        circumstances: dict[str, Any] = {
            "device_name": self.device.name,
            "device_uuid": self.device.uuid,
            "pci_bus_id": self.device.pci_bus_id,
            "probe": {**asdict(self._probe), "power": self._power.quantity, "power_source": self._power.name},
            "nvml_missing": dict(nvml.missing),
        }
        with contextlib.suppress(DeviceLost):  # then what is known without it has to do
            occupants = self._processes.tell_apart(nvml.processes() or frozenset())
            circumstances |= {
                "driver": nvml.driver(),
                "power_limit_watts": nvml.power_limit_watts(),
                "temperature_celsius": nvml.temperature_celsius(),
                "clock_limit_mhz": nvml.clock_limit_mhz(),
                "sm_clock_mhz": nvml.sm_clock_mhz(),
                "memory_clock_mhz": nvml.memory_clock_mhz(),
                "performance_state": nvml.performance_state(),
                "throttle_reasons": nvml.throttle_reasons(),
                "persistence": nvml.persistence(),
                "mig": nvml.mig(),
                "foreign_processes": sorted(occupants.foreign),
                "unknown_processes": sorted(occupants.unknown),
            }
        return circumstances

    def close(self) -> None:
        self._sampler.stop()
        self._nvml.close()


@dataclass(frozen=True, slots=True)
class _PowerSource:
    """The best reading of power that a device has."""

    name: str | None
    quantity: str | None  # what it reads: instant or average_1s
    read: Callable[[], float | None] | None


def _sensor_duty(nvml: NvmlDevice, gpu: catalog.Gpu | None) -> float:
    """Part of the time that the power sensor sees."""
    if gpu is not None and gpu.sensor_duty is not None:
        return gpu.sensor_duty
    return PART_TIME.get(nvml.capability() or (0, 0), 1.0)


def _power_source(nvml: NvmlDevice, gpu: catalog.Gpu | None) -> _PowerSource:
    reading = nvml.power_reading()
    if reading is None:
        return _PowerSource(None, None, None)
    name, read = reading
    if name == "usage":
        # Since Ampere an average on all but the A100; the log itself may tell otherwise (power_log.averages).
        return _PowerSource(name, (gpu and gpu.power_reading) or "average_1s", read)
    return _PowerSource(name, "instant" if name == "instant" else "average_1s", read)


def _catalog_entry(name: str) -> catalog.Gpu | None:
    types = types_of(name)
    return catalog.gpu(types[0]) if types else None
