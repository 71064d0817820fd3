"""How long jobs really take here, and until when what is queued will take.

The law says how long a pass over the prompts takes. A job takes longer: it is loaded, warmed up, idles before and
after, may be repeated; and a simulated device is faster than any. What the farm itself measured of late says by how
much.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from farm import catalog
from farm.domain.worker import NO_DEVICE, WorkerInfo
from farm.settings import Settings, load
from farm.store import hosts
from farm.store import pace as sql
from farm.store.engine import Connection
from farm.store.pace import Backlog, Running, Timed

IDLE_GAP_SECONDS: Final = 2.0  # between two jobs of a worker; a longer pause is none of the work
ENOUGH: Final = 5  # attempts, their forecasts a factor SPREAD apart, to tell what is fixed from what grows
SPREAD: Final = 2.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of a job of one GPU type, of its forecast: ``fixed + factor * forecast``."""

    fixed: float
    factor: float
    mean: float | None = None  # of a job that has no forecast; None where none was done

    @classmethod
    def expected(cls, gpu: str, settings: Settings) -> Self:
        """The pace before anything was measured: the law's time, and idle before and after."""
        entry = catalog.gpus().get(gpu)
        idles = entry is not None and not entry.is_processor
        return cls(2 * settings.idle_seconds if idles else 0.0, 1.0)

    @classmethod
    def measured(cls, attempts: Sequence[Timed]) -> Self:
        """The pace of attempts that measured, the newest first; there is at least one."""
        seconds = _cycles(attempts)
        mean = sum(seconds) / len(seconds)
        points = [
            (attempt.forecast_seconds, max(time, 1e-3))
            for attempt, time in zip(attempts, seconds, strict=True)
            if attempt.forecast_seconds
        ]
        if not points:
            return cls(mean, 0.0, mean)
        fixed, factor = _line(points)
        return cls(fixed, factor, mean)

    def seconds(self, forecast: float | None) -> float | None:
        """How long one job takes, in seconds; None where it has no forecast and none was done."""
        return self.mean if forecast is None else self.fixed + self.factor * forecast


def _cycles(attempts: Sequence[Timed]) -> list[float]:
    """Seconds of each attempt with the short pause before it."""
    ends: dict[str, float] = {}
    cycles = []
    for attempt in reversed(attempts):
        gap = attempt.started_at - ends.get(attempt.worker, float("-inf"))
        ends[attempt.worker] = attempt.ended_at
        pause = gap if 0 <= gap < IDLE_GAP_SECONDS else 0.0
        cycles.append(max(attempt.ended_at - attempt.started_at, 0.0) + pause)
    return cycles[::-1]


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The line through (forecast, seconds) of the least relative errors, neither number below 0; where all forecasts
    are alike, a mere factor."""
    forecasts = [x for x, _ in points]
    if len(points) < ENOUGH or max(forecasts) < SPREAD * min(forecasts):
        return 0.0, sum(y for _, y in points) / sum(forecasts)
    # Least squares of (fixed + factor x) / y = 1: the normal equations of two unknowns.
    ones, slopes = [1 / y for _, y in points], [x / y for x, y in points]
    aa, bb = sum(a * a for a in ones), sum(b * b for b in slopes)
    ab = sum(a * b for a, b in zip(ones, slopes, strict=True))
    a, b = sum(ones), sum(slopes)
    determinant = aa * bb - ab * ab
    fixed, factor = (a * bb - b * ab) / determinant, (b * aa - a * ab) / determinant
    if fixed < 0:
        return 0.0, b / bb
    return (fixed, factor) if factor >= 0 else (a / aa, 0.0)


def of_gpu(db: Connection, gpu: str, settings: Settings | None = None) -> Pace:
    """How long jobs of a GPU type take in this farm."""
    attempts = sql.recent(db, gpu)
    return Pace.measured(attempts) if attempts else Pace.expected(gpu, settings or load())


def serving(workers: Sequence[WorkerInfo], queue: str) -> int:
    """Workers that take jobs from a queue now."""
    there = [worker for worker in workers if worker.queue == queue and worker.alive and not worker.off]
    return sum(not worker.drain_requested and worker.state not in ("draining", NO_DEVICE) for worker in there)


def remaining(db: Connection, sweep_id: int | None) -> dict[str, float | None]:
    """Seconds until each GPU type has done what a sweep, or all, has open and nobody holds, and what runs before it.

    None where nothing tells, or nobody serves the queue. Types without anything open are not named.
    """
    queued, busy = sql.backlog(db, sweep_id), sql.running(db)
    gpus = {group.gpu for group in queued} | {job.gpu for job in busy}
    paces = {gpu: of_gpu(db, gpu) for gpu in gpus}
    workers = hosts.workers(db)
    by_queue: dict[str, tuple[list[Backlog], list[Running]]] = defaultdict(lambda: ([], []))
    for group in queued:
        by_queue[group.queue][0].append(group)
    for job in busy:
        by_queue[job.queue][1].append(job)
    answer: dict[str, float | None] = {}
    for queue, (groups, jobs) in by_queue.items():
        seconds = _span(groups, jobs, paces, serving(workers, queue))
        answer |= {group.gpu: seconds for group in groups} | {job.gpu: seconds for job in jobs}
    return answer


def _span(groups: Sequence[Backlog], jobs: Sequence[Running], paces: dict[str, Pace], workers: int) -> float | None:
    """Seconds that the workers of one queue need for its jobs; never less than the longest of them."""
    work, longest = 0.0, 0.0
    for job in jobs:
        seconds = paces[job.gpu].seconds(job.forecast_seconds)
        if seconds is None:
            return None
        rest = max(seconds - job.elapsed_seconds, 0.0)
        work, longest = work + rest, max(longest, rest)
    if not groups:
        return longest
    if not workers:
        return None
    for group in groups:
        pace = paces[group.gpu]
        if group.without_forecast and pace.mean is None:
            return None
        forecast = group.jobs - group.without_forecast
        work += forecast * pace.fixed + pace.factor * group.forecast_seconds
        work += group.without_forecast * (pace.mean or 0.0)
        longest = max(longest, pace.fixed + pace.factor * group.longest_seconds if forecast else 0.0)
    return max(work / workers, longest)
