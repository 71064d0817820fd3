"""What a sweep will take: hours, joules and disk, by GPU type, of the jobs that it adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from farm import catalog
from farm.domain import Configuration
from farm.domain.worker import WorkerInfo
from farm.store import hosts
from farm.store import pace as sql
from farm.store.engine import Connection
from farm.sweeps import pace
from farm.sweeps.forecast import Expected, Forecaster


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

    def add(self, configurations: Sequence[Configuration]) -> list[Expected]:
        """Count these jobs; what each will take."""
        expected = self._forecaster.expect(configurations)
        for configuration, one in zip(configurations, expected, strict=True):
            self._sums.setdefault(configuration.gpu, _Sum()).add(one)
        return expected

    def forecast(self, db: Connection, deadline: datetime | None) -> dict[str, Any] | None:
        """The whole, as `farm sweep submit --json` prints it; None without a law.

        Of a GPU type the seconds are those of its jobs one after the other, by as many workers as serve its queue now,
        by one where none does; of the sweep those of the type that takes longest. What is queued already comes on top.
        """
        if self._forecaster.source is None:
            return None
        workers = [WorkerInfo(**row) for row in hosts.workers(db)]
        by_gpu: dict[str, dict[str, Any]] = {}
        device_seconds = 0.0
        for gpu, total in self._sums.items():
            serving = max(pace.serving(workers, catalog.gpu(gpu).queue), 1)
            rate = pace.of_gpu(db, gpu)
            work = rate.fixed * total.jobs + rate.factor * total.seconds
            device_seconds += work
            known = not total.unknown
            by_gpu[gpu] = {
                "seconds": max(work / serving, rate.fixed + rate.factor * total.longest) if known else None,
                "energy_joules": total.joules if known else None,
                "jobs": total.jobs,
                "workers": serving,
            }
        whole = not any(total.unknown for total in self._sums.values())
        seconds = max((part["seconds"] for part in by_gpu.values()), default=0.0) if whole else None
        bytes_a_second = sql.log_bytes_a_second(db)
        return {
            "seconds": seconds,
            "energy_joules": sum(total.joules for total in self._sums.values()) if whole else None,
            "by_gpu": by_gpu,
            "raw_log_bytes": None if bytes_a_second is None or not whole else bytes_a_second * device_seconds,
            "rests_on": self._forecaster.source,
            "exceeds_deadline": _exceeds(seconds, deadline),
        }


def _exceeds(seconds: float | None, deadline: datetime | None) -> bool | None:
    """Whether the jobs take longer than there is time; None where there is no deadline, or nothing tells."""
    if seconds is None or deadline is None:
        return None
    return seconds > (deadline - datetime.now(UTC)).total_seconds()
