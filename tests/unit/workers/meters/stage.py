"""A window of known power on the fake GPU, seen by the NVML meter: what the tests of the meter have in common."""

from __future__ import annotations

import math
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.fake_nvml import fake
from tests.fake_nvml.board import Device, Noise
from tests.fake_nvml.fake import Fake, FakeClock
from workers.meters.base import IDLE, PAD, Energy, Span
from workers.meters.clock import Stop, Task
from workers.meters.nvml.meter import NvmlMeter

PLAIN = "NVIDIA RTX A6000"  # a board whose sensor sees all the time
PART_TIME = "NVIDIA A100-SXM4-80GB"  # one that sees 25 ms of 100
WHITE = Noise(white=1.0, seed=1)
WANDERING = Noise(white=0.5, correlated=1.0, correlation_seconds=1.0, seed=1)


class LateClock(FakeClock):
    """Of a busy host: so many of its wake-ups come late, by an exponential time of so many seconds."""

    def __init__(self, gpu: Fake, part: float, seconds: float, seed: int) -> None:
        super().__init__(gpu)
        self._part, self._seconds, self._random = part, seconds, random.Random(seed)

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds + self._late())

    def drive(self, task: Task) -> Stop:
        return super().drive(lambda: task() + self._late())

    def _late(self) -> float:
        return self._random.expovariate(1 / self._seconds) if self._random.random() < self._part else 0.0


@dataclass(frozen=True)
class Window:
    energy: Energy
    joules: float  # drawn above idle, as played

    @property
    def error(self) -> float:
        assert self.energy.total_joules is not None
        return self.energy.total_joules / self.joules - 1

    @property
    def covered(self) -> bool:
        assert self.energy.total_joules is not None
        assert self.energy.total_std_joules is not None
        return abs(self.energy.total_joules - self.joules) <= 1.96 * self.energy.total_std_joules


def window(
    gpu: Fake,
    meter: NvmlMeter,
    *phases: tuple[str, float, float],
    idle: float = 2.0,
    pad: float = 0.3,
    at_start: Callable[[Fake, float], None] | None = None,
) -> Window:
    """Idle, the phases (label, watts above idle, seconds; an empty label is a pause nobody asks about), idle."""
    spans: list[Span] = []

    def rest(label: str, seconds: float) -> None:
        start = meter.edge()
        gpu.clock.sleep(seconds)
        spans.append(Span(label=label, start=start, end=meter.edge()))

    meter.start()
    rest(IDLE, idle)
    rest(PAD, pad)
    if at_start is not None:
        at_start(gpu, gpu.now())
    joules = 0.0
    for label, watts, seconds in phases:
        start = meter.edge()
        gpu.draw(watts)
        gpu.clock.sleep(seconds)
        gpu.draw(0.0)
        end = meter.edge()
        if label:
            spans.append(Span(label=label, start=start, end=end))
            joules += watts * (end - start)
    rest(PAD, pad)
    rest(IDLE, idle)
    meter.stop()
    return Window(meter.energy(spans), joules)


def bursts(count: int, seconds: float, *, seed: int = 0, idle: float = 2.0, **device: object) -> list[Window]:
    """Windows of 240 to 360 W at random phases of the counter, one after another on one device."""
    random = np.random.default_rng(seed)
    values: dict[str, object] = {"name": PLAIN, "idle": 60.0, "noise": WHITE, "counter_phase": 0.013, **device}
    found = []
    with tempfile.TemporaryDirectory() as folder, fake.load(Path(folder), Device(**values)) as gpu:
        meter = NvmlMeter(0, clock=gpu.clock)
        for _ in range(count):
            gpu.clock.sleep(random.uniform(0, 0.3))
            pad = 0.3 + random.uniform(0, 0.1)
            found.append(window(gpu, meter, ("work", random.uniform(240, 360), seconds), idle=idle, pad=pad))
        meter.close()
    return found


def one(
    *phases: tuple[str, float, float],
    before: Callable[[Fake], None] | None = None,
    at_start: Callable[[Fake, float], None] | None = None,
    idle: float = 3.0,
    **device: object,
) -> Window:
    """One window on a device of its own. ``before`` acts before the meter opens, ``at_start`` as the work begins."""
    values: dict[str, object] = {"name": PLAIN, "idle": 60.0, "noise": WHITE, **device}
    with tempfile.TemporaryDirectory() as folder, fake.load(Path(folder), Device(**values)) as gpu:
        if before is not None:
            before(gpu)
        meter = NvmlMeter(0, clock=gpu.clock)
        found = window(gpu, meter, *(phases or (("work", 300.0, 3.0),)), idle=idle, at_start=at_start)
        meter.close()
    return found


def command(
    profile: Sequence[tuple[float, float]],
    *,
    after: Sequence[tuple[float, float]] = (),
    seed: int = 0,
    idle: float = 3.0,
    tail: float = 0.75,
    at_start: Callable[[Fake, float], None] | None = None,
    errors: dict[str, int] | None = None,
    late: float = 0.0,
    **device: object,
) -> Window:
    """One span over a trace that its label knows nothing of: (watts above idle, seconds) in it, and ``after`` it.

    ``late``: the host wakes late in 30 % of all cases, by so many seconds on average.
    """
    chance = random.Random(seed)
    phases = {"counter_phase": chance.uniform(0, 0.1), "power_phase": chance.uniform(0, 0.1)}
    values = {"name": PLAIN, "idle": 60.0, "noise": Noise(white=1.0, seed=seed + 1), **phases, **device}
    with tempfile.TemporaryDirectory() as folder, fake.load(Path(folder), Device(**values), errors=errors) as gpu:
        if late:
            gpu.clock = LateClock(gpu, 0.3, late, seed)
        meter = NvmlMeter(0, clock=gpu.clock)
        gpu.clock.sleep(chance.uniform(0, 0.2))
        spans: list[Span] = []

        def span(label: str, seconds: float) -> None:
            start = meter.edge()
            gpu.clock.sleep(seconds)
            spans.append(Span(label=label, start=start, end=meter.edge()))

        meter.start()
        span(IDLE, max(idle, meter.shortest_idle_seconds))
        start = at = meter.edge()
        for watts, seconds in (*profile, *after):
            gpu.draw(watts, at=at)
            at += seconds
        gpu.draw(0.0, at=at)
        if at_start is not None:
            at_start(gpu, start)
        seconds = sum(seconds for _, seconds in profile)
        span("command", seconds)
        span(PAD, tail)
        span(IDLE, max(idle, meter.shortest_idle_seconds))
        meter.stop()
        found = Window(meter.energy(spans), gpu.dynamic(start, start + seconds))
        meter.close()
    return found


def rms(windows: Sequence[Window]) -> float:
    return math.sqrt(sum(w.error**2 for w in windows) / len(windows))


def bias(windows: Sequence[Window]) -> float:
    return sum(w.error for w in windows) / len(windows)
