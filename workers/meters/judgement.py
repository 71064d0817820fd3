"""What an NVML log and its spans amount to, and what spoils it. Pure: a kept log can be judged again.

The counter is believed first. Where there is none, where it went back or stood still, or where reading it makes it lose
energy, the power log stands in. Wherever both can be had they are held against each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from workers.meters.attribution import Attribution, Levels, attribute, idle_levels
from workers.meters.base import IDLE, PAD, Energy, Recording, Span
from workers.meters.energies import energy_of, unknown, work_seconds
from workers.meters.latency import without_latency
from workers.meters.nvml_api import throttle_flags
from workers.meters.power_log import averages, power_levels
from workers.meters.ticks import Counter, Difference, counter_levels

AVERAGE_SECONDS: Final = 1.0  # the window of NVML's averaged power
SYSTEMATIC_PERCENT: Final = 5.0  # gain error of the boards' sensors, arXiv 2312.02741
DISAGREE: Final = 0.05  # counter against power, relative
POWER_EDGE_SECONDS: Final = 0.035  # of power log: standard uncertainty of when a change was seen
SIGMAS: Final = 4.0  # and by so many standard uncertainties
DRIFT_PART: Final = 0.02  # of the energy: an idle power that changed in an unknown way may matter so much
SHORTEST_SECONDS: Final = 0.01  # starting a process or synchronising a device takes part of that
SENSOR_CYCLE_SECONDS: Final = 0.1  # of a part-time sensor, arXiv 2312.02741
LIKELY_PART: Final = 0.6  # of the power limit: what work draws that the sensor may have missed
USUAL_LIMIT_WATTS: Final = 1500.0


def judge(recording: Recording, spans: Sequence[Span]) -> Energy:
    """Energy of the spans, from the best source in the log, with flags. Never raises; what is not known is null."""
    probe = recording.probe
    lost_at = next((float(e["time"]) for e in recording.events if e["event"] == "lost"), None)
    usable = list(spans) if lost_at is None else [_until(s, lost_at) for s in spans]
    flags = dict.fromkeys(_circumstances(recording, usable))
    if lost_at is not None:
        flags["gpu_lost"] = None

    duty, limit = probe.get("sensor_duty") or 1.0, probe.get("limit_watts") or USUAL_LIMIT_WATTS
    unseen, likely = unseen_seconds(probe.get("tick"), duty), LIKELY_PART * limit
    counter = counter_levels(recording.counter, probe.get("tick"), limit_watts=limit)
    if counter is not None:
        counter = replace(counter, levels=replace(counter.levels, unseen=unseen, likely_watts=likely))
    averaged = probe.get("power") == "average_1s"
    if probe.get("power_source") == "usage":
        seen = averages(recording.power, usable, AVERAGE_SECONDS)
        averaged = averaged if seen is None else seen
    window = AVERAGE_SECONDS if averaged else 0.0
    power = power_levels(recording.power, window=window)
    if power is not None:
        power, _ = without_latency(power, usable)
    faults = _counter_faults(recording, counter, usable)
    flags |= dict.fromkeys(faults)
    believed = counter is not None and not set(faults) - {"counter_unsupported"} and not probe.get("poll_sensitive")
    latency = 0.0
    levels: Levels | None
    if believed or (counter is not None and power is None and not faults):
        assert counter is not None
        levels, latency = without_latency(counter.levels, usable)
        method = "counter"
    else:
        levels, method = power, "power"
    if levels is not None and lost_at is not None:
        usable = [_until(s, float(levels.times[-1])) for s in usable]

    notes: dict[str, Any] = {"method": method if levels is not None else None, "counter_latency_seconds": latency}
    notes["power_averaged"] = averaged if power is not None else None
    if levels is None:
        return unknown(usable, flags=tuple(flags), complete=lost_at is None, notes=notes)
    found = attribute(levels, usable)
    if found is None and latency:  # shifted, the log no longer reaches around the work
        assert counter is not None
        levels, notes["counter_latency_seconds"] = counter.levels, 0.0
        found = attribute(levels, usable)
    idle = idle_levels(levels, usable)
    if found is None:
        watts, std = (idle[0].watts, idle[0].std) if idle else (None, None)
        return unknown(
            usable, flags=tuple(flags), complete=lost_at is None, notes=notes, idle_watts=watts, idle_watts_std=std
        )
    seconds = work_seconds(usable)
    if seconds < SHORTEST_SECONDS or found.budget["sensor_duty"] > abs(found.total):
        shortest = max(SHORTEST_SECONDS, levels.unseen)
        return unknown(
            usable,
            flags=(*flags, "window_too_short"),
            complete=lost_at is None,
            notes={**notes, "shortest_seconds": shortest},
            idle_watts=found.idle_watts,
            idle_watts_std=found.idle_std,
        )
    drift = _drift(levels, found, usable, seconds)
    if drift > DRIFT_PART * abs(found.total):
        flags["idle_drift"] = None
    if drift:
        found = replace(
            found, total_std=math.hypot(found.total_std, drift), budget={**found.budget, "idle_drift": drift}
        )
    checked = attribute(power, usable) if power is not None else None
    if checked is not None and power is not None and counter is not None and not faults:
        by_counter = found if method == "counter" else attribute(counter.levels, usable)
        if by_counter is not None and _disagree(counter.levels, by_counter, power, checked, usable):
            flags["counter_power_disagree"] = None
    return energy_of(
        found,
        usable,
        flags=tuple(flags),
        systematic_percent=SYSTEMATIC_PERCENT,
        power_joules=checked.total if checked is not None else None,
        complete=lost_at is None,
        notes=notes,
    )


def shortest_window(tick: float | None, duty: float) -> float:
    """Work shorter than this, in seconds, may go unseen by a sensor that looks for ``duty`` of each of its cycles."""
    return max(SHORTEST_SECONDS, unseen_seconds(tick, duty))


def unseen_seconds(tick: float | None, duty: float) -> float:
    """Seconds in a row that a part-time sensor does not see."""
    return max(SENSOR_CYCLE_SECONDS, tick or 0.0) * (1 - duty)


def _until(span: Span, time: float) -> Span:
    """The part of a span before a time; empty, at that time, where there is none."""
    return replace(span, start=min(span.start, time), end=min(span.end, time))


def _circumstances(recording: Recording, spans: Sequence[Span]) -> list[str]:
    """Flags for what the telemetry says of the time from the first span to the last."""
    start, end = min(s.start for s in spans), max(s.end for s in spans)
    work = [s for s in spans if s.label not in (IDLE, PAD)]
    first, last = (min(s.start for s in work), max(s.end for s in work)) if work else (start, end)
    flags: list[str] = []
    log = [t for t in recording.telemetry if start - 1.0 <= t["time"] <= end + 1.0]
    # A reading stands for about a second around it.
    flags += throttle_flags(t["throttle"] for t in log if t["throttle"] and first - 0.5 <= t["time"] <= last + 0.5)
    if any(t["foreign"] for t in log):
        flags.append("foreign_process")
    if any(t["mig"] for t in log):
        flags.append("mig_enabled")
    return flags


def _counter_faults(recording: Recording, counter: Counter | None, spans: Sequence[Span]) -> list[str]:
    if not recording.probe.get("has_counter"):
        return ["counter_unsupported"]
    if counter is None:
        readings = recording.counter
        still = len(readings) > 2 and readings[-1][1] - readings[0][0] > 1.0
        return ["counter_frozen"] if still else []
    start, end = min(s.start for s in spans), max(s.end for s in spans)
    faults = []
    if counter.has(Difference.RESET, start, end):
        faults.append("counter_reset")
    if counter.has(Difference.FROZEN, start, end) or (counter.still_since is not None and counter.still_since < end):
        faults.append("counter_frozen")
    return faults


@dataclass(frozen=True, slots=True)
class _Slope:
    watts_per_second: float
    std: float


def _slope(levels: Levels, span: Span) -> _Slope | None:
    """Trend of the power inside an idle span, from the energies of its quarters."""
    inside = (levels.times >= span.start) & (levels.times <= span.end)
    times, joules = levels.times[inside], levels.joules[inside]
    if len(times) < 9:
        return None
    middles = (times[1:] + times[:-1]) / 2 - times.mean()
    watts = np.diff(joules) / np.diff(times)
    fit = np.polyfit(middles, watts, 1)
    left = watts - np.polyval(fit, middles)
    # Neighbouring readings are alike: the residual variance is taken over blocks of a quarter.
    blocks = [block.mean() * math.sqrt(len(block)) for block in np.array_split(left, 4)]
    variance = max(float(left @ left) / (len(left) - 2), float(np.mean(np.square(blocks))))
    return _Slope(float(fit[0]), math.sqrt(variance / float(middles @ middles)))


def _drift(levels: Levels, found: Attribution, spans: Sequence[Span], seconds: float) -> float:
    """Standard uncertainty, in joules, from an idle power that changed otherwise than along a straight line."""
    if len(found.idle) < 2:
        return 0.0
    before, after = found.idle[0], found.idle[-1]
    change = after.watts - before.watts
    if abs(change) < SIGMAS * math.hypot(before.std, after.std) or after.middle <= before.middle:
        return 0.0
    straight = change / (after.middle - before.middle)
    idle = sorted((s for s in spans if s.label == IDLE), key=lambda s: s.start)
    slopes = [s for s in (_slope(levels, idle[0]), _slope(levels, idle[-1])) if s is not None]
    if all(abs(s.watts_per_second - straight) < SIGMAS * s.std for s in slopes):
        return 0.0
    return abs(change) * seconds / math.sqrt(12)


def _disagree(
    counter: Levels, counted: Attribution, power: Levels, integrated: Attribution, spans: Sequence[Span]
) -> bool:
    """Whether counter and power differ by five per cent and more than their uncertainties: above idle, or in all."""
    # Readings of power stand for the time between them: what changes in between is missed or counted twice.
    edges = POWER_EDGE_SECONDS * max(counted.change_watts, integrated.change_watts)
    sigma = math.hypot(counted.total_std, integrated.total_std, edges)
    if _apart(counted.total, integrated.total, sigma):
        return True
    start = max(min(s.start for s in spans), counter.times[0], power.times[0])
    end = min(max(s.end for s in spans), counter.times[-1], power.times[-1])
    all_counted, all_integrated = (
        float(np.diff(np.interp([start, end], levels.times, levels.joules))[0]) for levels in (counter, power)
    )
    ends = integrated.idle_watts * (counter.tick + power.tick) + integrated.idle_std * (end - start)
    return _apart(all_counted, all_integrated, math.hypot(edges, ends))


def _apart(a: float, b: float, sigma: float) -> bool:
    return abs(a - b) > max(SIGMAS * sigma, DISAGREE * max(abs(a), abs(b)))
