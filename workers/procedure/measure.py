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
from typing import Any

from farm.domain import PHASES, Configuration, Measurement, PhaseEnergy
from workers.meters.base import PAD, Energy, Meter, Recording, Span
from workers.meters.both import per_pass
from workers.meters.energy.statistics import relative_halfwidth
from workers.meters.samples import encode_samples
from workers.procedure.options import Options
from workers.procedure.repeats import RepeatLog
from workers.procedure.rest import STEP_SECONDS, idle, rest
from workers.workload import Workload


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
    cold_idle_watts: float | None = None,
    environment: Mapping[str, Any] | None = None,
) -> Measured:
    """Measure one configuration on the meter's device.

    ``prompts`` are used in order and from the start again when there are fewer than the configuration wants.
    What a signal's handler raises ends the measurement and is passed on.
    """
    options = options or Options()
    log = RepeatLog()
    meter.start()
    try:
        settled = _settle(meter, options)
        before = meter.environment()
        log.spans.append(idle(meter, options.idle_seconds))
        for batch in islice(_batches(configuration, prompts), options.warmup_batches):
            workload.run(batch, configuration.seed, _unread(workload))
        log.spans.append(rest(meter, PAD, options.pad_seconds))
        started = meter.edge()
        reason = ""
        while not reason:
            _one_pass(configuration, workload, meter, prompts, log)
            reason = _enough(meter, log, options, meter.edge() - started)
        log.spans.append(rest(meter, PAD, options.pad_seconds))
        log.spans.append(idle(meter, options.idle_seconds))
        after = meter.environment()
    finally:
        meter.stop()
    energy = meter.energy(log.spans)
    result = _measurement(configuration, meter, log, energy, reason)
    circumstances = {
        **workload.environment(),
        **after,
        **(environment or {}),
        "at_start": _changed(before, after),
        "settled": settled,
        "idle_seconds": max(options.idle_seconds, meter.shortest_idle_seconds),
        "power_joules": energy.power_joules,
        "complete": energy.complete,
        **per_pass(energy.notes, log.known_passes(energy)),
    }
    measurement = Measurement(
        **result,
        configuration=configuration,
        cold_idle_watts=cold_idle_watts,
        environment=circumstances,
        measured_at=datetime.now(UTC).isoformat(),
        measurement_id=uuid.uuid4().hex,
    )
    return Measured(measurement=measurement, recording=meter.recording(), spans=tuple(log.spans))


def _settle(meter: Meter, options: Options) -> bool:
    until = meter.edge() + options.settle_seconds
    while not meter.steady():
        remaining = until - meter.edge()
        if remaining <= 0:
            return False
        meter.clock.sleep(min(STEP_SECONDS, remaining))
    return True


def _one_pass(
    configuration: Configuration,
    workload: Workload,
    meter: Meter,
    prompts: Sequence[str],
    log: RepeatLog,
) -> None:
    batches: list[int] = []
    for number, batch in enumerate(_batches(configuration, prompts)):
        first = len(log.spans)
        seed = configuration.seed + number * configuration.batch
        log.results.append(workload.run(batch, seed, _window(workload, meter, log)))
        log.batches.append(list(range(first, len(log.spans))))
        batches.append(len(log.batches) - 1)
    log.passes.append(batches)


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
    known_passes = log.known_passes(energy)
    repeat = log.repeat_error(energy, meter.shortest_seconds)
    phases = {}
    for label in PHASES:
        joules, std = energy.dynamic_joules.get(label), energy.std_joules.get(label)
        seconds = sum(s.end - s.start for s in log.spans if s.label == label)
        if seconds > 0:
            phases[label] = PhaseEnergy(
                joules=None if joules is None else joules / known_passes,
                seconds=seconds / passes,
                std_joules=None if joules is None or std is None else math.hypot(std, repeat * joules) / known_passes,
            )
    total, total_std = energy.total_joules, energy.total_std_joules
    known = total is not None and total_std is not None
    flags = dict.fromkeys([*meter.flags, *energy.flags])
    if not all(result.finite for result in log.results):
        flags["nonfinite_output"] = None
    largest = max(log.results, key=lambda r: r.images)
    return {
        "energy_joules": total / known_passes if total is not None else None,
        "energy_std_joules": math.hypot(total_std or 0.0, repeat * (total or 0.0)) / known_passes if known else None,
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
    """The circumstances at the start that are no longer the same."""
    return {k: v for k, v in before.items() if after.get(k) != v}
