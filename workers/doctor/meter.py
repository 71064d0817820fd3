"""Puts the meter of an NVIDIA device through its paces: what a new host has to show before its numbers are believed.

A load of constant power is run for windows of known length at random phases of the counter. What the counter says of
each, what the power log says, and how far windows of one length scatter, tells whether the sensor sees all the time,
whether the two agree, and how well a job repeats. Knows no torch: the load is passed in.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from workers.meters.base import IDLE, PAD, Meter, Recording, Span
from workers.meters.nvml.evaluate import SENSOR_CYCLE_SECONDS, evaluate

Load = Callable[[float], None]  # keeps the device busy for so many seconds; it is idle again when this returns

REST_SECONDS: Final = 0.9  # between two windows: a pad, then idle
PAD_SECONDS: Final = 0.35  # a power log shows work up to 0.2 s late, and idle must hold none of it
EDGE_SECONDS: Final = 2.0  # of idle before the first window and after the last
WARM_SECONDS: Final = 0.5  # of load before the first window of a log: clocks and temperature of a busy device
DUTIES: Final = np.linspace(0.05, 1.0, 96)


@dataclass(frozen=True, kw_only=True, slots=True)
class IdlePower:
    """Power while nothing is asked of the device, and in what state it was. None: cannot be read here."""

    watts: float | None
    std_watts: float | None  # standard error
    noise_watts: float | None  # standard deviation of single power readings
    sm_clock_mhz: int | None
    celsius: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowCheck:
    """The results of windows of one length. Energies are above idle, powers their quotient by seconds."""

    seconds: float  # asked for
    windows: int  # run
    unknown: int  # of which the meter says that it cannot resolve them
    watts: float | None  # mean power by the counter, as if its sensor saw all the time
    scatter_percent: float | None  # standard deviation of that from window to window
    power_percent: float | None  # by how much the power log says more (median)
    stated_percent: float | None  # median standard uncertainty that the meter states


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeatability:
    """Energy above idle of the same work, done again and again."""

    seconds: float
    joules: tuple[float, ...]

    @property
    def cv_percent(self) -> float | None:
        """Standard deviation over mean; None of less than two."""
        if len(self.joules) < 2:
            return None
        return 100 * statistics.stdev(self.joules) / statistics.fmean(self.joules)


def idle_power(meter: Meter, seconds: float) -> IdlePower:
    """Measure idle power for so long, in the state that the device is in."""
    meter.start()
    start = meter.edge()
    meter.clock.sleep(seconds)
    span = Span(label=IDLE, start=start, end=meter.edge())
    meter.stop()
    energy, recording = meter.energy([span]), meter.recording()
    readings = [watts for _, watts in recording.power]
    last: Any = recording.telemetry[-1] if recording.telemetry else {}
    return IdlePower(
        watts=energy.idle_watts,
        std_watts=energy.idle_watts_std,
        noise_watts=statistics.stdev(readings) if len(readings) > 2 else None,
        sm_clock_mhz=last.get("sm_mhz"),
        celsius=last.get("celsius"),
    )


def check_windows(meter: Meter, load: Load, seconds: float, count: int, *, seed: int = 0) -> WindowCheck:
    """Measure so many windows of one length, at random phases of the counter."""
    recording, windows = _run(meter, load, [seconds] * count, random.Random(seed))
    sighted = replace(recording, probe=replace(recording.probe, sensor_duty=1.0))
    counted = [(evaluate(sighted, spans), _work(spans)) for spans in windows]
    stated = [evaluate(recording, spans) for spans in windows]
    powers = [e.total_joules / s for e, s in counted if e.total_joules is not None]
    apart = [
        100 * (e.power_joules / e.total_joules - 1)
        for e, _ in counted
        if e.total_joules and e.power_joules is not None and e.notes.get("method") == "counter"
    ]
    relative = [100 * e.total_std_joules / e.total_joules for e in stated if e.total_joules and e.total_std_joules]
    return WindowCheck(
        seconds=seconds,
        windows=count,
        unknown=sum(e.total_joules is None for e in stated),
        watts=statistics.fmean(powers) if powers else None,
        scatter_percent=100 * statistics.stdev(powers) / statistics.fmean(powers) if len(powers) > 1 else None,
        power_percent=statistics.median(apart) if apart else None,
        stated_percent=statistics.median(relative) if relative else None,
    )


def check_repeats(meter: Meter, load: Load, seconds: float, count: int) -> Repeatability:
    """Measure the same long job so many times. ``load`` has to do the same work each time, not take the same time."""
    joules = []
    for number in range(count):
        recording, windows = _run(meter, load, [seconds], random.Random(number), warm=number == 0)
        total = evaluate(recording, windows[0]).total_joules
        if total is not None:
            joules.append(total)
    return Repeatability(seconds=seconds, joules=tuple(joules))


def sampling_cost_percent(meter: Meter, work: Callable[[], None], pairs: int) -> tuple[float, float]:
    """Measure how much longer the same work takes while the meter logs: percent, and the standard error of that."""
    ratios = []
    work()
    for number in range(pairs):
        seconds = {}
        for logged in (True, False) if number % 2 else (False, True):
            if logged:
                meter.start()
            start = meter.clock.now()
            work()
            seconds[logged] = meter.clock.now() - start
            meter.stop()
        ratios.append(100 * (seconds[True] / seconds[False] - 1))
    return statistics.fmean(ratios), statistics.stdev(ratios) / math.sqrt(pairs) if pairs > 1 else math.inf


def seen_part(scatter_percent: float, seconds: float, *, cycle: float = SENSOR_CYCLE_SECONDS) -> float:
    """Estimate the part of each cycle that a sensor sees from the scatter of windows of constant power.

    A sensor that looks for a part of each cycle, and takes what it sees for the whole, sees a window of ``seconds`` at
    a random phase with a scatter that falls as that part grows; the part that explains the scatter is returned.
    """
    expected = [_scatter(float(duty), seconds, cycle) for duty in DUTIES]
    return float(DUTIES[int(np.argmin([abs(e - scatter_percent / 100) for e in expected]))])


def _scatter(duty: float, seconds: float, cycle: float) -> float:
    """Relative standard deviation, over all phases, of a window's energy as a part-time sensor sees it."""
    phases = np.linspace(0.0, cycle, 400, endpoint=False)

    def seen(until: np.ndarray) -> np.ndarray:  # seconds seen of 0 to `until`, each counted for 1 / duty
        whole, rest = np.divmod(until, cycle)
        return whole * cycle + np.minimum(rest, duty * cycle) / duty

    values = seen(phases + seconds) - seen(phases)
    return float(values.std() / values.mean())


def _run(
    meter: Meter, load: Load, lengths: Sequence[float], chance: random.Random, *, warm: bool = True
) -> tuple[Recording, list[list[Span]]]:
    """Log windows with rests between them; returns the spans of each window: idle, pad, work, pad, idle."""
    if warm:
        load(WARM_SECONDS)
    edges: list[tuple[float, float]] = []
    meter.start()
    begin = meter.edge()
    meter.clock.sleep(EDGE_SECONDS)
    for seconds in lengths:
        meter.clock.sleep(chance.uniform(0.0, SENSOR_CYCLE_SECONDS))
        start = meter.edge()
        load(seconds)
        edges.append((start, meter.edge()))
        meter.clock.sleep(REST_SECONDS)
    meter.clock.sleep(EDGE_SECONDS - REST_SECONDS)
    end = meter.edge()
    meter.stop()
    windows = []
    for number, (start, stop) in enumerate(edges):
        before = edges[number - 1][1] if number else begin - PAD_SECONDS
        after = edges[number + 1][0] if number + 1 < len(edges) else end
        windows.append(
            [
                Span(label=IDLE, start=before + PAD_SECONDS, end=start),
                Span(label="work", start=start, end=stop),
                Span(label=PAD, start=stop, end=stop + PAD_SECONDS),
                Span(label=IDLE, start=stop + PAD_SECONDS, end=after),
            ]
        )
    return meter.recording(), windows


def _work(spans: Sequence[Span]) -> float:
    return sum(s.end - s.start for s in spans if s.counts)
