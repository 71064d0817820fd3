"""A device that is not there: power by the stated law of ``truth``, or as ``traced`` says, read in virtual time.

Everything it gives is flagged ``simulated``. The same configuration, replicate and attempt give the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from farm import catalog
from farm.domain import Configuration, MeterError
from workers.device.board import Device
from workers.meters.base import Energy, Probe, Recording, Span
from workers.meters.clock import Clock, VirtualClock
from workers.meters.energy.by_label import energy_from
from workers.meters.energy.cumulative import CumulativeEnergy
from workers.meters.simulated import traced, truth
from workers.meters.simulated.faults import Faults, of_device
from workers.workload import BatchResult, PhaseWindow

IDLE_NOISE: Final = 0.5  # W s^-1/2: idle energy wanders by this much in the root of a second
SESSION_NOISE: Final = 0.01  # from one attempt to the next, relative: what repeats inside an attempt cannot see
BATCH_NOISE: Final = 0.01  # from one batch to the next, relative


class SimulatedMeter:
    """A counter that is exact when asked, over an idle power with noise."""

    name = "simulated"
    flags: tuple[str, ...] = ("simulated",)
    shortest_seconds = 0.0
    shortest_idle_seconds = 0.0

    def __init__(self, gpu: catalog.Gpu, device: int = 0, *, speed: float | None = None) -> None:
        self.clock: Clock = VirtualClock(speed=speed)
        self.device = Device(index=device, name=f"simulated {gpu.title}", uuid=f"SIM-{gpu.name}-{device}")
        self.present_watts = gpu.idle_watts
        self._gpu = gpu
        self._faults = Faults()
        self._random = np.random.default_rng(0)
        self._readings: list[tuple[float, float, float]] = []
        self._joules = 0.0
        self._origin = 0.0
        self._last = 0.0

    def begin(self) -> None:
        """Take over the device's faults as they are stated now. MeterError where one is that it fails."""
        self._faults = of_device(self._gpu.name, self.device.index or 0)
        if self._faults.fails:
            raise MeterError(f"told to fail: {self._faults.fails}")

    def seed(self, random: np.random.Generator) -> None:
        """Draw the noise of what follows from that seed."""
        self._random = random

    def draw(self, watts: float, seconds: float) -> None:
        """The device draws that much above idle for so long."""
        drawn = watts * self._faults.energy_factor
        self._joules += drawn * seconds
        self.present_watts = self._gpu.idle_watts + drawn
        self.clock.sleep(seconds)
        self.present_watts = self._gpu.idle_watts

    def start(self) -> None:
        self._readings = []
        self._joules = self._last = 0.0
        self._origin = self.clock.now()

    def stop(self) -> None:
        pass

    def edge(self) -> float:
        now = self.clock.now() - self._origin  # so that a result does not depend on what ran before
        if self._readings and now == self._last:
            return now
        passed = now - self._last
        self._joules += self._gpu.idle_watts * passed + IDLE_NOISE * passed**0.5 * self._random.standard_normal()
        self._last = now
        self._readings.append((now, now, self._joules))
        return now

    def steady(self) -> bool:
        return True

    def recording(self) -> Recording:
        return Recording(counter=tuple(self._readings), probe=Probe(counter="exact"))

    def energy(self, spans: Sequence[Span]) -> Energy:
        readings = np.array(self._readings).reshape(-1, 3)
        times = readings[:, 1]
        levels = CumulativeEnergy(times=times, joules=readings[:, 2], time_std=np.zeros_like(times))
        return energy_from(levels, spans, flags=self.flags)

    def environment(self) -> Mapping[str, Any]:
        return {
            "device_name": self.device.name,
            "device_uuid": self.device.uuid,
            "power_limit_watts": self._gpu.board_power_watts,
        }

    def close(self) -> None:
        pass


class SimulatedWorkload:
    """Draws what the stated law says, phase by phase."""

    def __init__(
        self,
        configuration: Configuration,
        meter: SimulatedMeter,
        *,
        replicate: int = 0,
        attempt: int = 1,
        law: str = "paper",
    ) -> None:
        text = f"{configuration.key} {replicate} {attempt}"
        random = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))
        meter.begin()
        meter.seed(random)
        self._meter = meter
        self._random = random
        followed = traced.draws(configuration) if law == "traced" else None
        self._draws = followed or truth.draws(configuration)
        self._session = np.exp(SESSION_NOISE * random.standard_normal())
        self._configuration = configuration
        self._model = catalog.model(configuration.model)
        self._model.check(configuration)  # a simulated device refuses what a real one would

    def run(self, prompts: Sequence[str], seed: int, phase: PhaseWindow) -> BatchResult:
        images = len(prompts)
        each_step = self._model.forwards(self._configuration.cfg, images)
        noise = self._session * np.exp(BATCH_NOISE * self._random.standard_normal())
        for name, draw in self._draws.items():
            with phase(name):
                self._meter.draw(draw.watts * noise, draw.seconds * images)
        return BatchResult(
            images=images,
            forwards=self._configuration.steps * each_step.calls,
            forward_batch=each_step.samples,
            finite=True,
        )

    def synchronize(self) -> None:
        pass

    def environment(self) -> dict[str, object]:
        return {"workload": "simulated"}
