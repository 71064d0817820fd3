"""How a configuration is measured: settle, idle, warm up, the prompts, idle again, and once more until sure.

Knows a meter and a workload by their interfaces, nothing of SQL, Celery, torch or diffusers.

Of every pass over the prompts only what runs inside a phase window counts; saving images, Python between the phases and
pauses do not. A job shorter than half a minute is repeated until its 95 % half-width is small enough; a longer one's
batches are its repeats.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from farm.domain import PHASES, Configuration, Measurement, PhaseEnergy
from workers.meters.base import IDLE, PAD, Energy, Meter, Recording, Span
from workers.meters.both import per_pass
from workers.meters.energy.statistics import relative_halfwidth
from workers.meters.samples import encode_samples
from workers.procedure.repeats import RepeatLog
from workers.workload import Workload

# Idle is waited for in such steps, so that a meter that reads when asked sees its scatter.
REST_STEP_SECONDS: Final = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How long and how often. The defaults are for a GPU read through NVML."""

    idle_seconds: float = 20.0  # baseline on each side
    settle_seconds: float = 60.0  # at most so long until temperature and power are steady
    pad_seconds: float = 0.5  # rest between warm-up or work and what surrounds it
    warmup_batches: int = 1
    halfwidth: float = 0.02  # wanted: 95 % half-width of the mean of repeats, relative
    short_seconds: float = 30.0  # a pass below it is repeated
    min_passes: int = 3
    max_passes: int = 30
    max_seconds: float = 600.0  # no further pass is begun after so long

    @classmethod
    def quick(cls, idle_seconds: float = 0.5) -> Options:
        """For a demonstration, an estimating meter or a test: seconds instead of minutes, and wider intervals."""
        return cls(
            idle_seconds=idle_seconds,
            settle_seconds=0.0,
            pad_seconds=0.1,
            min_passes=2,
            max_passes=200,
            max_seconds=3.0,
            halfwidth=0.05,
        )

    @classmethod
    def suited(
        cls, meter: Meter, idle_seconds: float = 20.0, *, settle_seconds: float = 60.0, max_seconds: float = 600.0
    ) -> Options:
        """The quick ones for a meter that estimates, since care cannot make an estimate a measurement."""
        if "estimated" in meter.flags:
            return cls.quick()
        return cls(idle_seconds=idle_seconds, settle_seconds=settle_seconds, max_seconds=max_seconds)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A measurement and the raw log it rests on."""

    measurement: Measurement
    recording: Recording
    spans: tuple[Span, ...]

    def samples(self) -> bytes:
        """The log and its spans, compact; ``workers.meters.samples.decode_samples`` reads them."""
        return encode_samples(self.recording, self.spans)


def measure(
    configuration: Configuration,
    workload: Workload,
    meter: Meter,
    *,
    prompts: Sequence[str],
    options: Options | None = None,
    checkpoint: Callable[[], None] = lambda: None,
    cold_idle_watts: float | None = None,
    environment: Mapping[str, Any] | None = None,
) -> Measured:
    """Measure one configuration on the meter's device.

    ``prompts`` are used in order and from the start again when there are fewer than the configuration wants.
    ``checkpoint`` is called between batches and during rests; what it raises ends the measurement and is passed on.
    """
    options = options or Options()
    log = RepeatLog()
    meter.start()
    try:
        settled = _settle(meter, options, checkpoint)
        before = meter.environment()
        _idle(meter, log, options.idle_seconds, checkpoint)
        for batch in islice(_batches(configuration, prompts), options.warmup_batches):
            workload.run(batch, configuration.seed, _unread(workload))
        _rest(meter, log, PAD, options.pad_seconds, checkpoint)
        started = meter.edge()
        reason = ""
        while not reason:
            _one_pass(configuration, workload, meter, prompts, log, checkpoint)
            reason = _enough(meter, log, options, meter.edge() - started)
        _rest(meter, log, PAD, options.pad_seconds, checkpoint)
        _idle(meter, log, options.idle_seconds, checkpoint)
        after = meter.environment()
    finally:
        meter.stop()
    energy = meter.energy(log.spans)
    result = _measurement(configuration, meter, log, energy, reason)
    seen = {
        **workload.environment(),
        **after,
        **(environment or {}),
        "at_start": _changed(before, after),
        "settled": settled,
        "idle_seconds": max(options.idle_seconds, meter.shortest_idle_seconds),
        "power_joules": energy.power_joules,
        "complete": energy.complete,
        **per_pass(energy.notes, log.seen(energy)),
    }
    measurement = Measurement(
        **result,
        configuration=configuration,
        cold_idle_watts=cold_idle_watts,
        environment=seen,
        measured_at=datetime.now(UTC).isoformat(),
        measurement_id=uuid.uuid4().hex,
    )
    return Measured(measurement=measurement, recording=meter.recording(), spans=tuple(log.spans))


def measure_idle(
    meter: Meter, seconds: float, checkpoint: Callable[[], None] = lambda: None
) -> tuple[float | None, float | None]:
    """Idle power in watts and its standard error, as things are now (for the cold idle: before anything is loaded)."""
    log = RepeatLog()
    meter.start()
    try:
        _idle(meter, log, seconds, checkpoint)
    finally:
        meter.stop()
    energy = meter.energy(log.spans)
    return energy.idle_watts, energy.idle_watts_std


def cold_idle_watts(meter: Meter, seconds: float) -> float | None:
    """Idle power before anything is loaded; None for a meter that estimates, which has no such thing to read."""
    return None if "estimated" in meter.flags else measure_idle(meter, seconds)[0]


def _settle(meter: Meter, options: Options, checkpoint: Callable[[], None]) -> bool:
    until = meter.edge() + options.settle_seconds
    while not meter.steady():
        left = until - meter.edge()
        if left <= 0:
            return False
        checkpoint()
        meter.clock.sleep(min(REST_STEP_SECONDS, left))
    return True


def _idle(meter: Meter, log: RepeatLog, seconds: float, checkpoint: Callable[[], None]) -> None:
    seconds = max(seconds, meter.shortest_idle_seconds)
    _rest(meter, log, IDLE, seconds, checkpoint, steps=4)  # a spread needs a few readings


def _rest(
    meter: Meter, log: RepeatLog, label: str, seconds: float, checkpoint: Callable[[], None], *, steps: int = 1
) -> None:
    start = meter.edge()
    steps = max(steps, math.ceil(seconds / REST_STEP_SECONDS))
    for _ in range(steps):
        checkpoint()
        meter.clock.sleep(seconds / steps)
        end = meter.edge()
    log.spans.append(Span(label=label, start=start, end=end))


def _one_pass(
    configuration: Configuration,
    workload: Workload,
    meter: Meter,
    prompts: Sequence[str],
    log: RepeatLog,
    checkpoint: Callable[[], None],
) -> None:
    mine: list[int] = []
    for number, batch in enumerate(_batches(configuration, prompts)):
        checkpoint()
        first = len(log.spans)
        seed = configuration.seed + number * configuration.batch
        log.results.append(workload.run(batch, seed, _window(workload, meter, log)))
        log.batches.append(list(range(first, len(log.spans))))
        mine.append(len(log.batches) - 1)
    log.passes.append(mine)


def _batches(configuration: Configuration, prompts: Sequence[str]) -> Iterator[list[str]]:
    for first in range(0, configuration.prompts, configuration.batch):
        last = min(first + configuration.batch, configuration.prompts)
        yield [prompts[i % len(prompts)] for i in range(first, last)]


def _window(workload: Workload, meter: Meter, log: RepeatLog) -> Callable[[str], Any]:
    @contextmanager
    def phase(label: str) -> Iterator[None]:
        workload.synchronize()
        start = meter.edge()
        yield
        workload.synchronize()
        log.spans.append(Span(label=label, start=start, end=meter.edge()))

    return phase


def _unread(workload: Workload) -> Callable[[str], Any]:
    @contextmanager
    def phase(label: str) -> Iterator[None]:
        yield
        workload.synchronize()

    return phase


def _enough(meter: Meter, log: RepeatLog, options: Options, elapsed: float) -> str:
    """Why no further pass is needed; empty where one is."""
    worked = log.seconds(range(len(log.batches)))
    passes = len(log.passes)
    if worked / passes >= options.short_seconds:
        return "long enough: its batches are its repeats"
    if elapsed >= options.max_seconds:
        return f"stopped after {options.max_seconds:g} s"
    if worked < meter.shortest_seconds or passes < min(options.min_passes, options.max_passes):
        return ""
    energy = meter.energy(log.spans)
    if not energy.complete:
        return "the device was lost"
    values = log.repeats(energy, log.passes, at_least=meter.shortest_seconds)
    if len(values) > 1 and relative_halfwidth(values) <= options.halfwidth:
        return f"95% half-width within {100 * options.halfwidth:g}%"
    return f"stopped after {options.max_passes} passes" if passes >= options.max_passes else ""


def _measurement(
    configuration: Configuration, meter: Meter, log: RepeatLog, energy: Energy, reason: str
) -> dict[str, Any]:
    passes = len(log.passes)
    seen = log.seen(energy)
    repeat = log.repeat_error(energy, meter.shortest_seconds)
    phases = {}
    for label in PHASES:
        joules, std = energy.dynamic_joules.get(label), energy.std_joules.get(label)
        seconds = sum(s.end - s.start for s in log.spans if s.label == label)
        if seconds > 0:
            phases[label] = PhaseEnergy(
                joules=None if joules is None else joules / seen,
                seconds=seconds / passes,
                std_joules=None if joules is None or std is None else math.hypot(std, repeat * joules) / seen,
            )
    total, total_std = energy.total_joules, energy.total_std_joules
    known = total is not None and total_std is not None
    flags = dict.fromkeys([*meter.flags, *energy.flags])
    if not all(result.finite for result in log.results):
        flags["nonfinite_output"] = None
    largest = max(log.results, key=lambda r: r.images)
    return {
        "energy_joules": total / seen if total is not None else None,
        "energy_std_joules": math.hypot(total_std or 0.0, repeat * (total or 0.0)) / seen if known else None,
        "systematic_percent": energy.systematic_percent,
        "idle_watts": energy.idle_watts,
        "idle_watts_std": energy.idle_watts_std,
        "duration_seconds": log.seconds(range(len(log.batches))) / passes,
        "phases": phases,
        "forwards": round(sum(r.forwards for r in log.results) / passes),
        "forward_batch": largest.forward_batch,
        "repeats": passes,
        "stop_reason": reason,
        "meter": meter.name,
        "flags": tuple(flags),
    }


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What was different at the start."""
    return {k: v for k, v in before.items() if after.get(k) != v}
