"""What a device can do, found out once when a meter opens: the counter's tick, what a reading costs, what polling does.

The counter is polled every two milliseconds until a few jumps were seen closely. Then it is left alone for a while and
read again: a counter that lost energy under fast polling (some consumer boards do, by up to 95 %; Dauner et al.,
HotCarbon 2026) shows a lower power in the first stretch than in the second, and is from then on read once a second.

A busy host wakes late. What was then seen is known to lie between two readings, no better: such jumps do not make the
period, and of the energy that polling may have lost only what remains in the most favourable case is believed.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from workers.device.nvml.device import NvmlDevice
from workers.meters.clock import Clock
from workers.meters.energy.period import coherent_period

TRIES: Final = 5  # to read a counter, before there is taken to be none
POLL_SECONDS: Final = 0.002
JUMPS: Final = 10  # seen closely, after which polling ends
CLOSE_POLLS: Final = 3.0  # a jump between two readings not further apart than so many pauses is seen closely
SHORTEST_SECONDS: Final = 0.3  # of polling: a short tick needs many jumps
LONGEST_SECONDS: Final = 1.5  # for the jumps; then once more as long at a slower pace
SLOW_POLL_SECONDS: Final = 0.02
QUIET_SECONDS: Final = 0.6  # left alone at the least, against which fast polling is compared
CONTINUOUS_SECONDS: Final = 0.005  # a counter that moves at nearly every reading has no tick worth following
ROUGH: Final = 0.15  # relative: how far one gap between two jumps may be from the period
LOSS: Final = 0.10  # relative; idle power itself wanders by a few per cent


@dataclass(frozen=True, kw_only=True, slots=True)
class CounterProbe:
    """What was found out about a counter. Seconds on the meter's clock."""

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
    after: float  # when the old value was last asked for
    before: float  # when the new one was there
    joules: float

    @property
    def time(self) -> float:
        return (self.after + self.before) / 2

    @property
    def width(self) -> float:
        return self.before - self.after


def probe_counter(device: NvmlDevice, clock: Clock) -> CounterProbe:
    """Find out how the counter of an idle device ticks and what reading it costs, in two to three seconds."""
    if not _answers(device, clock):
        return CounterProbe(has_counter=False)
    fast, latency = _jumps(device, clock, POLL_SECONDS, LONGEST_SECONDS)
    if len(fast) < 3:
        slow, _ = _jumps(device, clock, SLOW_POLL_SECONDS, LONGEST_SECONDS)
        fast = slow if len(slow) > len(fast) else fast
    if len(fast) < 3:
        return CounterProbe(has_counter=True, latency=latency)
    tick = _period(fast)
    loss = _loss(device, clock, fast, tick)
    if loss is not None and loss > LOSS:  # once more, as idle power may have stepped
        again, _ = _jumps(device, clock, POLL_SECONDS, LONGEST_SECONDS)
        second = _loss(device, clock, again, tick) if len(again) > 2 else loss
        loss = min(loss, second) if second is not None else loss
    return CounterProbe(
        has_counter=True,
        tick=tick,
        edge=fast[-1].time,
        latency=latency,
        poll_loss=loss,
        poll_sensitive=loss is not None and loss > LOSS,
    )


def _answers(device: NvmlDevice, clock: Clock) -> bool:
    """Whether there is a counter; one that fails in passing is asked again."""
    for _ in range(TRIES):
        if device.counter_joules() is not None:
            return True
        clock.sleep(SLOW_POLL_SECONDS)
    return False


def _jumps(device: NvmlDevice, clock: Clock, pause: float, longest: float) -> tuple[list[_Jump], float]:
    """Updates seen while polling, and the median time of a reading."""
    jumps: list[_Jump] = []
    costs: list[float] = []
    start = asked = clock.now()
    last = device.counter_joules()
    close = 0
    while (now := clock.now()) - start < longest and (close < JUMPS or now - start < SHORTEST_SECONDS):
        clock.sleep(pause)
        before, asked = asked, clock.now()
        joules = device.counter_joules()
        now = clock.now()
        costs.append(now - asked)
        if joules is not None and joules != last:
            jumps.append(_Jump(before, now, joules))
            close += now - before <= CLOSE_POLLS * pause
            last = joules
    return jumps, statistics.median(costs) if costs else 0.0


def _period(jumps: list[_Jump]) -> float | None:
    """Seconds between updates. Two next to each other, both seen closely, are one period apart."""
    usual = 1.5 * statistics.median(j.width for j in jumps)
    gaps = [b.time - a.time for a, b in pairwise(jumps) if max(a.width, b.width) <= usual]
    rough = statistics.median_low(gaps or [b.time - a.time for a, b in pairwise(jumps)])
    low, high = (np.array(side) for side in zip(*((j.after, j.before) for j in jumps), strict=True))
    period = coherent_period(low, high, rough, within=ROUGH)
    return period if period > CONTINUOUS_SECONDS else None


def _loss(device: NvmlDevice, clock: Clock, fast: list[_Jump], tick: float | None) -> float | None:
    """Part of the energy that polling loses, at the least: the most power that there can have been between jumps while
    polled, against the least while left alone."""
    first, last = fast[0], fast[-1]
    clock.sleep(max(QUIET_SECONDS, 3.5 * (tick or 0.0)))
    joules = device.counter_joules()
    if joules is None:
        return None
    step = math.gcd(*(round(1000 * (b.joules - a.joules)) for a, b in pairwise([*fast, _Jump(0, 0, joules)]))) / 1000
    polled = (last.joules - first.joules + step) / max(last.after - first.before, 1e-9)
    quiet = (joules - last.joules - step) / (clock.now() - last.after)
    return 1 - polled / quiet if quiet > 0 else None
