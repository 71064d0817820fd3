"""What a device can do, found out once when a meter opens: the counter's tick, what a reading costs, what polling does.

The counter is polled every two milliseconds until a few jumps were seen. Then it is left alone for a while and read
again: a counter that lost energy under fast polling (some consumer boards do, by up to 95 %; Dauner et al., HotCarbon
2026) shows a lower power in the first stretch than in the second, and is from then on read once a second.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from workers.clock import Clock
from workers.meters.nvml_api import NvmlDevice

POLL_SECONDS: Final = 0.002
JUMPS: Final = 6
LONGEST_SECONDS: Final = 1.5  # for the jumps; then once more as long at a slower pace
SLOW_POLL_SECONDS: Final = 0.02
QUIET_SECONDS: Final = 0.6
CONTINUOUS_SECONDS: Final = 0.005  # a counter that moves at nearly every reading has no tick worth following
LOSS: Final = 0.10  # relative; idle power itself wanders by a few per cent


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What was found. Seconds on the meter's clock."""

    has_counter: bool
    tick: float | None = None  # seconds between updates; None: no counter, or it did not move
    edge: float = 0.0  # when one update came
    latency: float | None = None  # seconds that one reading of the counter takes
    poll_loss: float | None = None  # part of the idle energy that fast polling loses
    poll_sensitive: bool = False

    def next_edge(self, now: float) -> float:
        """The first predicted update after a time."""
        if not self.tick:
            return now
        return self.edge + (math.floor((now - self.edge) / self.tick) + 1) * self.tick


@dataclass(frozen=True, slots=True)
class _Jump:
    time: float
    joules: float


def probe_counter(device: NvmlDevice, clock: Clock) -> Probe:
    """Takes two to three seconds of the clock's time; the device should be idle."""
    if device.counter_joules() is None:
        return Probe(has_counter=False)
    fast, latency = _jumps(device, clock, POLL_SECONDS, LONGEST_SECONDS)
    if len(fast) < 3:
        slow, _ = _jumps(device, clock, SLOW_POLL_SECONDS, LONGEST_SECONDS)
        fast = slow if len(slow) > len(fast) else fast
    if len(fast) < 3:
        return Probe(has_counter=True, latency=latency)
    tick = _period([j.time for j in fast])
    loss = _loss(device, clock, fast, tick)
    if loss is not None and loss > LOSS:  # once more, as idle power may have stepped
        again, _ = _jumps(device, clock, POLL_SECONDS, LONGEST_SECONDS)
        second = _loss(device, clock, again, tick) if len(again) > 2 else loss
        loss = min(loss, second) if second is not None else loss
    return Probe(
        has_counter=True,
        tick=tick,
        edge=fast[-1].time,
        latency=latency,
        poll_loss=loss,
        poll_sensitive=loss is not None and loss > LOSS,
    )


def _jumps(device: NvmlDevice, clock: Clock, pause: float, longest: float) -> tuple[list[_Jump], float]:
    """Updates seen while polling, and the median time of a reading."""
    jumps: list[_Jump] = []
    costs: list[float] = []
    start = before = clock.now()
    last = device.counter_joules()
    while len(jumps) < JUMPS and clock.now() - start < longest:
        clock.sleep(pause)
        asked = clock.now()
        joules = device.counter_joules()
        now = clock.now()
        costs.append(now - asked)
        if joules is not None and joules != last:
            jumps.append(_Jump((before + now) / 2, joules))
            last = joules
        before = asked
    return jumps, statistics.median(costs) if costs else 0.0


def _period(times: list[float]) -> float | None:
    """Seconds between updates; an update that was missed counts as two."""
    gaps = [b - a for a, b in pairwise(times)]
    shortest = statistics.median_low(gaps)
    ticks = sum(max(1, round(gap / shortest)) for gap in gaps)
    period = (times[-1] - times[0]) / ticks
    return period if period > CONTINUOUS_SECONDS else None


def _loss(device: NvmlDevice, clock: Clock, fast: list[_Jump], tick: float | None) -> float | None:
    """Part of the energy that polling loses: power between jumps while polled, against power while left alone."""
    polled = (fast[-1].joules - fast[0].joules) / (fast[-1].time - fast[0].time)
    pause = max(QUIET_SECONDS, 3 * (tick or 0.0))
    if tick:  # to the middle of a tick, so that one reading stands for the tick before it
        pause = (math.floor(pause / tick) + 0.5) * tick - (clock.now() - fast[-1].time)
    clock.sleep(max(pause, 0.0))
    joules = device.counter_joules()
    if joules is None:
        return None
    since = clock.now() - fast[-1].time
    quiet = (joules - fast[-1].joules) / (math.floor(since / tick) * tick if tick else since)
    return 1 - polled / quiet if quiet > 0 else None
