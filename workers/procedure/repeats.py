"""What a job did so far, pass by pass, and what its repeats say of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from workers.meters.base import Energy, Span
from workers.meters.energy.statistics import Z_975, relative_halfwidth
from workers.workload import BatchResult


@dataclass(slots=True)
class RepeatLog:
    """The spans of a job so far, and which of them belong to which batch and pass."""

    spans: list[Span] = field(default_factory=list)
    batches: list[list[int]] = field(default_factory=list)  # span numbers by batch
    passes: list[list[int]] = field(default_factory=list)  # batch numbers by pass
    results: list[BatchResult] = field(default_factory=list)

    def seconds(self, batches: Sequence[int]) -> float:
        """How long the batches of these numbers worked."""
        return sum(self.spans[i].end - self.spans[i].start for b in batches for i in self.batches[b])

    def known_passes(self, energy: Energy) -> int:
        """How many passes have some energy that is known: fewer than all where the device was lost on the way.

        All of them where nothing is known.
        """
        known = sum(any(energy.span_joules[i] is not None for b in p for i in self.batches[b]) for p in self.passes)
        return known or len(self.passes)

    def repeats(self, energy: Energy, units: Sequence[Sequence[int]], *, at_least: float) -> list[float]:
        """Energy of each repeat: units (lists of batches) joined until they are ``at_least`` so many seconds long."""
        values: list[float] = []
        joined, seconds, count = 0.0, 0.0, 0
        for unit in units:
            joules = [energy.span_joules[i] for b in unit for i in self.batches[b]]
            if any(j is None for j in joules):
                return []
            joined += math.fsum(j for j in joules if j is not None)
            seconds += self.seconds(unit)
            count += 1
            if seconds >= at_least:
                values.append(joined / count)
                joined, seconds, count = 0.0, 0.0, 0
        return values

    def repeat_error(self, energy: Energy, shortest_seconds: float) -> float:
        """Relative standard error from the scatter of passes, or of batches of a single pass; 0: it cannot be said.

        Of a few it is widened, so that 1.96 of it are Student's 95 % half-width: without that the interval of three
        passes would hold the truth in 81 % of all cases.
        """
        units: Sequence[Sequence[int]] = self.passes
        if len(units) == 1:
            units = [[b] for b in units[0] if self.results[b].images == self.results[units[0][0]].images]
        # Shorter than what makes a result: their scatter holds more of the meter's own, which errs to the safe side.
        values = self.repeats(energy, units, at_least=shortest_seconds / 4)
        return relative_halfwidth(values) / Z_975 if len(values) > 1 and math.fsum(values) else 0.0
