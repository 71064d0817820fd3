"""What an NVML log and its spans amount to, and what spoils it. Pure: a kept log can be evaluated again.

The counter is believed first. Where there is none, where it went back or stood still, or where reading it makes it lose
energy, the power log stands in. Wherever both can be had they are held against each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from workers.device.nvml.throttling import throttle_flags
from workers.meters.base import Energy, Recording, Span
from workers.meters.energy.attribution import Attribution, attribute
from workers.meters.energy.by_label import energy_of, unknown, work_seconds
from workers.meters.energy.crosscheck import disagree
from workers.meters.energy.cumulative import CumulativeEnergy, idle_levels
from workers.meters.energy.drift import drift_joules, settled
from workers.meters.energy.idle import Floats, IdleLevel
from workers.meters.energy.latency import without_latency
from workers.meters.energy.power_log import averages, power_levels
from workers.meters.energy.ticks import Counter, Difference, counter_levels

AVERAGE_SECONDS: Final = 1.0  # the window of NVML's averaged power
SYSTEMATIC_PERCENT: Final = 5.0  # gain error of the boards' sensors, arXiv 2312.02741
SILENT_SECONDS: Final = 2.5  # even one that must not be read often is read once a second
POLLED_PART: Final = 0.05  # what a counter that loses energy by being read may lose at one reading a second
HOLE_SECONDS: Final = 0.5  # ten readings of power
DRIFT_PART: Final = 0.02  # of the energy: an idle power that changed in an unknown way may matter so much
SHORTEST_SECONDS: Final = 0.01  # starting a process or synchronising a device takes part of that
SENSOR_CYCLE_SECONDS: Final = 0.1  # of a part-time sensor, arXiv 2312.02741
LIKELY_PART: Final = 0.6  # of the power limit: what work draws that the sensor may have missed
USUAL_LIMIT_WATTS: Final = 1500.0


def evaluate(recording: Recording, spans: Sequence[Span]) -> Energy:
    """Energy of the spans (one or more), from the best source in the log, with flags. What is not known is null."""
    lost_at = next((float(e["time"]) for e in recording.events if e["event"] == "lost"), math.inf)
    usable = [_until(s, lost_at) for s in spans]
    counter, power = _counter(recording), _power(recording, usable)
    faults = _counter_faults(recording, counter, usable)
    flags = dict.fromkeys([*_circumstances(recording, usable), *faults])
    complete = math.isinf(lost_at)
    if not complete:
        flags["gpu_lost"] = None
    polled = recording.probe.poll_sensitive
    if polled:  # believed only where there is nothing else
        flags["counter_unsupported"] = None

    notes: dict[str, Any] = {"method": None, "counter_latency_seconds": 0.0}
    notes["unknown_processes"] = _unknown_processes(recording, usable)
    notes["power_averaged"] = power.averaged if power is not None else None
    idle: tuple[IdleLevel, ...] = ()
    for source in _by_belief(recording, counter if not faults else None, power, usable):
        if not complete:
            usable = [_until(s, min(lost_at, float(source.levels.times[-1]))) for s in spans]
        notes |= {"method": source.method, "counter_latency_seconds": source.latency}
        usable = settled(source.levels, usable)
        idle = idle_levels(source.levels, usable)
        attribution = attribute(source.levels, usable)
        if attribution is not None:
            break
    else:
        return _unknown(usable, flags, complete, notes, idle)
    seconds = work_seconds(usable)
    may_be_missed = seconds < source.levels.short_seconds and attribution.budget["sensor_duty"] > abs(attribution.total)
    if seconds < SHORTEST_SECONDS or may_be_missed:
        notes["shortest_seconds"] = max(SHORTEST_SECONDS, source.levels.unseen)
        return _unknown(usable, {**flags, "window_too_short": None}, complete, notes, attribution.idle)
    if source.method == "counter" and polled:
        attribution = _wider(attribution, "polling", POLLED_PART * np.abs(attribution.joules), usable)
    drift = drift_joules(source.levels, attribution, usable, seconds)
    if drift > DRIFT_PART * abs(attribution.total):
        flags["idle_drift"] = None
    if drift:
        drifted = drift / seconds * np.array([s.end - s.start for s in usable])
        attribution = _wider(attribution, "idle_drift", drifted, usable)
    checked = attribute(power.levels, usable) if power is not None and not _hole(power.levels, usable) else None
    if source.method == "counter" and not polled and power is not None and checked is not None:
        readings = () if power.averaged else recording.power
        if disagree(source.levels, attribution, power.levels, checked, usable, readings):
            flags["counter_power_disagree"] = None
    energy = energy_of(
        attribution,
        usable,
        flags=tuple(flags),
        systematic_percent=SYSTEMATIC_PERCENT,
        power_joules=checked.total if checked is not None else None,
        complete=complete,
        notes=notes,
    )
    return energy if complete else replace(energy, span_joules=_without_lost(energy.span_joules, spans, usable))


def _without_lost(
    joules: Sequence[float | None], spans: Sequence[Span], usable: Sequence[Span]
) -> tuple[float | None, ...]:
    """Set the energies of spans of which nothing is left to null."""
    empty = [was.end > was.start and now.end <= now.start for was, now in zip(spans, usable, strict=True)]
    return tuple(None if gone else j for j, gone in zip(joules, empty, strict=True))


def _hole(power: CumulativeEnergy, spans: Sequence[Span]) -> bool:
    """Whether the log of power was silent for so long around the work that its sum means nothing."""
    start, end = min(s.start for s in spans), max(s.end for s in spans)
    inside = power.times[(power.times > start) & (power.times < end)]
    return bool(np.diff(inside, prepend=start, append=end).max() > HOLE_SECONDS)


def _wider(attribution: Attribution, cause: str, joules: Floats, spans: Sequence[Span]) -> Attribution:
    """Add one more cause of uncertainty, of so many joules by span, that is shared by all of them."""
    total = float(joules[[s.counts for s in spans]].sum())
    return replace(
        attribution,
        common=np.hypot(attribution.common, joules),
        total_std=math.hypot(attribution.total_std, total),
        budget={**attribution.budget, cause: total},
    )


@dataclass(frozen=True, slots=True)
class _Source:
    """Cumulative energy by one way of knowing it."""

    method: str
    levels: CumulativeEnergy
    latency: float = 0.0  # seconds by which the counter was late, already taken off the levels' times


@dataclass(frozen=True, slots=True)
class _Power:
    levels: CumulativeEnergy
    averaged: bool


def _counter(recording: Recording) -> Counter | None:
    probe = recording.probe
    limit = probe.limit_watts or USUAL_LIMIT_WATTS
    counter = counter_levels(recording.counter, probe.tick, limit_watts=limit)
    if counter is None:
        return None
    duty = probe.sensor_duty or 1.0
    cycle = sensor_cycle(probe.tick, duty)
    levels = replace(counter.levels, cycle=cycle, unseen=cycle * (1 - duty), likely_watts=LIKELY_PART * limit)
    return replace(counter, levels=levels)


def _power(recording: Recording, spans: Sequence[Span]) -> _Power | None:
    averaged = recording.probe.power == "average_1s"
    if recording.probe.power_source == "usage":
        looks_averaged = averages(recording.power, spans, AVERAGE_SECONDS)
        averaged = averaged if looks_averaged is None else looks_averaged
    levels = power_levels(recording.power, window=AVERAGE_SECONDS if averaged else 0.0)
    return _Power(without_latency(levels, spans)[0], averaged) if levels is not None else None


def _by_belief(
    recording: Recording, counter: Counter | None, power: _Power | None, spans: Sequence[Span]
) -> Iterator[_Source]:
    """The counter first, unless reading it makes it lose energy. The next one stands in where one does not reach around
    the work: shifted by its latency, or with too few ticks for an idle that short.
    """
    if power is not None and recording.probe.poll_sensitive:
        yield _Source("power", power.levels)
    if counter is not None:
        levels, latency = without_latency(counter.levels, spans)
        yield _Source("counter", levels, latency)
        if latency:
            yield _Source("counter", counter.levels)
    if power is not None:
        yield _Source("power", power.levels)


def _unknown(
    spans: Sequence[Span],
    flags: Iterable[str],
    complete: bool,
    notes: dict[str, Any],
    idle: Sequence[IdleLevel],
) -> Energy:
    watts, std = (idle[0].watts, idle[0].std) if idle else (None, None)
    return unknown(spans, flags=tuple(flags), complete=complete, notes=notes, idle_watts=watts, idle_watts_std=std)


def shortest_window(tick: float | None, duty: float) -> float:
    """Work shorter than this, in seconds, may go unseen by a sensor that looks for ``duty`` of each of its cycles."""
    return max(SHORTEST_SECONDS, sensor_cycle(tick, duty) * (1 - duty))


def sensor_cycle(tick: float | None, duty: float) -> float:
    """Seconds from one look of a part-time sensor to the next; 0 for one that sees all the time."""
    return max(SENSOR_CYCLE_SECONDS, tick or 0.0) if duty < 1 else 0.0


def _until(span: Span, time: float) -> Span:
    """Cut a span at a time; what is left is empty where the span begins later."""
    return replace(span, start=min(span.start, time), end=min(span.end, time))


def _telemetry(recording: Recording, spans: Sequence[Span]) -> list[Mapping[str, Any]]:
    """The telemetry from the first span to the last; a reading stands for about a second around it."""
    start, end = min(s.start for s in spans), max(s.end for s in spans)
    return [t for t in recording.telemetry if start - 1.0 <= t["time"] <= end + 1.0]


def _unknown_processes(recording: Recording, spans: Sequence[Span]) -> list[int] | None:
    """Ids, by NVML, of processes that came to the device and cannot be identified from here; None: none are listed."""
    lists = [t["unknown"] for t in _telemetry(recording, spans) if t.get("unknown") is not None]
    return sorted(set().union(*lists)) if lists else None


def _circumstances(recording: Recording, spans: Sequence[Span]) -> list[str]:
    """Flags for what the telemetry says of the time from the first span to the last."""
    start, end = min(s.start for s in spans), max(s.end for s in spans)
    work = [s for s in spans if s.works]
    first, last = (min(s.start for s in work), max(s.end for s in work)) if work else (start, end)
    flags: list[str] = []
    log = _telemetry(recording, spans)
    flags += throttle_flags(t["throttle"] for t in log if t["throttle"] and first - 0.5 <= t["time"] <= last + 0.5)
    if any(t["foreign"] for t in log):
        flags.append("foreign_process")
    if any(t["mig"] for t in log):
        flags.append("mig_enabled")
    return flags


def _counter_faults(recording: Recording, counter: Counter | None, spans: Sequence[Span]) -> list[str]:
    if not recording.probe.has_counter:
        return ["counter_unsupported"]
    if counter is None:
        readings = recording.counter
        still = len(readings) > 2 and readings[-1][1] - readings[0][0] > 1.0
        return ["counter_frozen"] if still else []
    start, end = min(s.start for s in spans), max(s.end for s in spans)
    faults = []
    if recording.counter[-1][1] < end - SILENT_SECONDS:  # it no longer answered
        faults.append("counter_frozen")
    if counter.has(Difference.RESET, start, end):
        faults.append("counter_reset")
    if counter.has(Difference.FROZEN, start, end) or (counter.still_since is not None and counter.still_since < end):
        faults.append("counter_frozen")
    return faults
