"""What a sweep will take: hours, joules and disk, by GPU type, of the jobs that it adds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any, Final

from farm import catalog
from farm.domain import Configuration
from farm.store import hosts
from farm.store import pace as sql
from farm.store.engine import Connection
from farm.sweeps import pace
from farm.sweeps.forecast import Expected, Forecaster

# Of a power log, until a farm has logs of its own: ten readings of the counter and twenty of power, compressed.
LOG_BYTES_A_SECOND: Final = 190.0


@dataclass(slots=True)
class _Sum:
    jobs: int = 0
    seconds: float = 0.0  # by the law, of one pass each
    longest: float = 0.0
    joules: float = 0.0
    unknown: int = 0  # jobs that the law cannot tell

    def add(self, expected: Expected) -> None:
        self.jobs += 1
        if expected.seconds is None or expected.joules is None:
            self.unknown += 1
            return
        self.seconds += expected.seconds
        self.longest = max(self.longest, expected.seconds)
        self.joules += expected.joules


class Demand:
    """Sums up the forecasts of jobs as they are added."""

    def __init__(self, forecaster: Forecaster) -> None:
        self._forecaster = forecaster
        self._sums: dict[str, _Sum] = {}
        self._most_joules = math.inf

    def add(self, configurations: Sequence[Configuration]) -> list[Expected]:
        """Count these jobs; what each will take."""
        expected = self._forecaster.expect(configurations)
        for configuration, one in zip(configurations, expected, strict=True):
            self._sums.setdefault(configuration.gpu, _Sum()).add(one)
        return expected

    def add_within(self, configurations: Sequence[Configuration], budget: Expected) -> None:
        """Count as much of these jobs as a budget of all of them together allows, whichever are chosen: of each GPU
        type the most jobs, the most seconds and the most joules that any choice has."""
        joules, seconds = (math.inf if most is None else most for most in (budget.joules, budget.seconds))
        amounts: dict[str, list[tuple[float, float]]] = {}
        for configuration, one in zip(configurations, self._forecaster.expect(configurations), strict=True):
            amount = (one.seconds or 0.0, one.joules or 0.0)
            if amount[0] <= seconds and amount[1] <= joules:
                self._sums.setdefault(configuration.gpu, _Sum()).add(one)
                amounts.setdefault(configuration.gpu, []).append(amount)
        for gpu, pairs in amounts.items():
            total, swapped = self._sums[gpu], [(energy, time) for time, energy in pairs]
            total.jobs = min(
                _most_jobs([time for time, _ in pairs], seconds), _most_jobs([j for _, j in pairs], joules)
            )
            total.seconds = min(_most(pairs, joules), seconds)
            total.joules = min(_most(swapped, seconds), joules)
        self._most_joules = joules

    def forecast(self, db: Connection, deadline: datetime | None) -> dict[str, Any] | None:
        """The whole, as `farm sweep submit --json` prints it; None without a law.

        Of a GPU type the seconds are those of its jobs one after the other, by as many workers as serve its queue now,
        by one where none does; of the sweep those of the type that takes longest. What is queued already comes on top.
        """
        if self._forecaster.source is None:
            return None
        workers = hosts.workers(db)
        by_gpu: dict[str, dict[str, Any]] = {}
        bytes_a_second = sql.log_bytes_a_second(db) or LOG_BYTES_A_SECOND
        for gpu, total in self._sums.items():
            serving = max(pace.serving(workers, catalog.gpu(gpu).queue), 1)
            rate = pace.of_gpu(db, gpu)
            work = rate.fixed * total.jobs + rate.factor * total.seconds
            known = not total.unknown
            by_gpu[gpu] = {
                "seconds": max(work / serving, rate.fixed + rate.factor * total.longest) if known else None,
                "energy_joules": total.joules if known else None,
                "raw_log_bytes": bytes_a_second * work if known else None,
                "jobs": total.jobs,
                "workers": serving,
            }
        whole = not any(total.unknown for total in self._sums.values())
        seconds = max((part["seconds"] for part in by_gpu.values()), default=0.0) if whole else None
        return {
            "seconds": seconds,
            "energy_joules": min(sum(total.joules for total in self._sums.values()), self._most_joules)
            if whole
            else None,
            "by_gpu": by_gpu,
            "raw_log_bytes": sum(part["raw_log_bytes"] for part in by_gpu.values()) if whole else None,
            "rests_on": self._forecaster.source,
            "exceeds_deadline": _exceeds(seconds, deadline),
        }


def _most(pairs: Sequence[tuple[float, float]], cap: float) -> float:
    """The most that a choice of (amount, cost) has whose costs are together within a cap, parts of one allowed."""
    amount, budget = 0.0, cap
    for one, cost in sorted(pairs, key=lambda pair: pair[0] / max(pair[1], 1e-300), reverse=True):
        part = min(1.0, budget / cost) if cost > 0 else 1.0
        amount, budget = amount + part * one, budget - part * cost
        if budget <= 0:
            break
    return amount


def _most_jobs(costs: Sequence[float], cap: float) -> int:
    """How many fit within a cap, the cheapest first."""
    return sum(whole <= cap for whole in accumulate(sorted(costs)))


def _exceeds(seconds: float | None, deadline: datetime | None) -> bool | None:
    """Whether the jobs take longer than there is time; None where there is no deadline, or nothing tells."""
    if seconds is None or deadline is None:
        return None
    return seconds > (deadline - datetime.now(UTC)).total_seconds()
