"""What must be true after any faults: nothing lost, nothing doubled, nothing on the wrong device, little done twice."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from farm.settings import Settings
from farm.store.engine import Store
from workers.runtime.slot import Slot

if TYPE_CHECKING:
    from tests.acceptance.chaos import Outcome

CLOCK_SECONDS = 0.02  # two processes' readings of one clock, and what a log line rounds
# Issue: within lease + 30 s. An outage that follows on the fault is not the worker's recovery, and is added.
RECOVERY_SECONDS = 30.0
_DONE = re.compile(r"^(\S+ \S+) INFO job (\d+) attempt (\d+) .* ([\d.]+) s$", re.MULTILINE)


@dataclass(frozen=True)
class Hit:
    """A fault that may have cost a job its attempt: on whom, from when to when (seconds since 1970)."""

    worker: str
    began: float
    ended: float

    def explains(self, attempt: Any) -> bool:
        ended = float("inf") if attempt.ended_at is None else attempt.ended_at
        return (
            attempt.worker == self.worker
            and attempt.started_at <= self.ended + CLOCK_SECONDS
            and self.began <= ended + CLOCK_SECONDS
        )


def judge(home: Path, store: Store, settings: Settings, outcome: Outcome, hits: Sequence[Hit]) -> None:
    """Look at the database, the workers' logs and their spools; write what is found to the outcome."""
    complain = outcome.complaints.append
    with store.read() as db:

        def rows(sql: str) -> list[Any]:
            return list(db.execute(text(sql)).all())

        jobs = {j.id: j for j in rows("SELECT job.id, state, reason, gpu FROM job JOIN configuration c "
                                      "ON c.id = configuration_id")}  # fmt: skip
        attempts = rows(
            'SELECT job_id, number, worker, started_at, ended_at, "end" FROM attempt ORDER BY started_at, id'
        )
        measured = rows("SELECT job_id, worker FROM measurement")
        late = rows("SELECT job_id, worker FROM late_measurement")
    outcome.attempts = Counter(str(a.end) for a in attempts)
    outcome.redone = len(attempts) - len(jobs)
    if len(jobs) != outcome.plan.jobs:
        complain(f"{len(jobs)} jobs, {outcome.plan.jobs} were submitted")
    for job in jobs.values():
        if job.state != "done":
            complain(f"job {job.id} is {job.state}: {job.reason}")
    for job_id, count in Counter(m.job_id for m in measured).items():
        if count > 1:
            complain(f"job {job_id} has {count} measurements")
    if lost := sorted(jobs.keys() - {m.job_id for m in measured}):
        complain(f"no measurement of {lost}")
    accepted = Counter(a.job_id for a in attempts if a.end == "accepted")
    if odd := sorted(job_id for job_id in jobs if accepted[job_id] != 1):
        complain(f"not accepted exactly once: {odd}")
    for found in (*attempts, *measured, *late):
        if not found.worker.startswith(f"sim-{jobs[found.job_id].gpu}-"):
            complain(f"on the wrong queue: job {found.job_id} of {jobs[found.job_id].gpu} at {found.worker}")
    if odd := [(a.job_id, a.number) for a in attempts if a.end is None]:
        complain(f"attempts without an end: {odd}")
    _one_at_a_time(attempts, complain)
    _one_at_a_time_by_log(home / "run" / "logs", complain)
    _little_done_twice(attempts, hits, complain)
    outcome.recovery_seconds = _recovery(attempts, hits)
    limit = settings.lease_seconds + RECOVERY_SECONDS + outcome.plan.outage_seconds
    if outcome.recovery_seconds > limit:
        complain(f"a job was done again {outcome.recovery_seconds:.0f} s after its fault, {limit:.0f} s are allowed")
    _nothing_waits(settings, complain)


def _one_at_a_time(attempts: Iterable[Any], complain: Any) -> None:
    """By the database: a worker's name is held by whoever has locked its device."""
    by_worker = defaultdict(list)
    for attempt in attempts:
        by_worker[attempt.worker].append(attempt)
    for worker, mine in by_worker.items():
        for before, after in pairwise(mine):
            if before.ended_at is None or before.ended_at > after.started_at + CLOCK_SECONDS:
                complain(f"two jobs at once on {worker}: {tuple(before)} and {tuple(after)}")


def _one_at_a_time_by_log(logs: Path, complain: Any) -> None:
    """By what the workers' processes wrote themselves: the database may have given a job on that a device still ran."""
    seen = 0
    for log in sorted(logs.glob("worker-*.log")):
        spans = []
        for when, job, attempt, seconds in _DONE.findall(log.read_text(errors="replace")):
            end = datetime.strptime(when, "%Y-%m-%d %H:%M:%S,%f").timestamp()
            spans.append((end - float(seconds), end, f"job {job} attempt {attempt}"))
        seen += len(spans)
        for before, after in pairwise(sorted(spans)):
            if before[1] > after[0] + CLOCK_SECONDS:
                complain(f"{log.stem} ran two jobs at once: {before[2]} and {after[2]}")
    if not seen:
        complain("no worker logged a job")


def _little_done_twice(attempts: Sequence[Any], hits: Sequence[Hit], complain: Any) -> None:
    """Each hit may cost one job one attempt; nothing else may cost any."""
    free = sorted(hits, key=lambda h: h.ended)
    by_job = defaultdict(list)
    for attempt in attempts:
        by_job[attempt.job_id].append(attempt)
    for job_id, mine in by_job.items():
        for _ in range(len(mine) - 1):
            hit = next((h for h in free if any(h.explains(a) for a in mine)), None)
            if hit is None:
                complain(f"job {job_id} was begun again for no reason: {[tuple(a) for a in mine]}")
                break
            free.remove(hit)


def _recovery(attempts: Sequence[Any], hits: Sequence[Hit]) -> float:
    """The longest time from a hit to the next attempt of the job that it cost."""
    longest = 0.0
    for hit in hits:
        cost = [a for a in attempts if a.end != "accepted" and hit.explains(a)]
        for attempt in cost:
            again = [a.started_at for a in attempts if a.job_id == attempt.job_id and a.number > attempt.number]
            longest = max(longest, min(again, default=hit.began) - hit.began)
    return longest


def _nothing_waits(settings: Settings, complain: Any) -> None:
    """No result is left on a spool, none was set aside as corrupt."""
    deadline = time.monotonic() + 10.0
    while (left := list(_results_on(settings.spool))) and time.monotonic() < deadline:
        time.sleep(0.1)
    if left:
        complain(f"left on the spool: {[str(p.relative_to(settings.spool)) for p in left]}")


def _results_on(spool: Path) -> Iterator[Path]:
    yield from spool.rglob("*.result*")
    yield from (path for path in spool.glob("*.slot") if not Slot(path).is_empty)
