"""Why queued jobs wait: said here once, for status, watch, workers, doctor and the page alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from farm.domain.worker import NO_DEVICE, WorkerInfo
from farm.store import hosts, waiting
from farm.store.engine import Connection
from farm.store.waiting import Group

NO_COORDINATOR: Final = "no coordinator is here: start `farm coordinator`, or `farm up`"
SILENT_SECONDS: Final = 30.0  # a coordinator that said nothing for so long is gone


@dataclass(frozen=True, slots=True)
class Coordinator:
    """Whether any coordinator is there."""

    alive: bool
    silent_seconds: float | None  # None: there never was one

    def __str__(self) -> str:
        if self.alive:
            return "a coordinator is here"
        since = "there never was one" if self.silent_seconds is None else f"silent for {self.silent_seconds:.0f} s"
        return f"{NO_COORDINATOR} ({since})"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Queued jobs of one GPU type that wait for the same."""

    gpu: str
    count: int
    why: str
    stuck: bool  # time alone will not help: somebody has to do something


def coordinator(db: Connection) -> Coordinator:
    """Whether a coordinator was here of late."""
    silence = waiting.coordinator_silence(db)
    return Coordinator(silence is not None and silence < SILENT_SECONDS, silence)


def reasons(db: Connection, sweep_id: int | None = None) -> list[Waiting]:
    """Every queued job of a sweep, or of all, counted under why it does not run; by GPU type, the most first."""
    groups = waiting.queued(db, sweep_id)
    if not groups:
        return []
    workers = hosts.workers(db)
    here = coordinator(db)
    counts: Counter[tuple[str, str, bool]] = Counter()
    for group in groups:
        serving = [worker for worker in workers if worker.queue == group.queue]
        counts[group.gpu, *_why(group, serving, here)] += group.count
    rows = [Waiting(gpu, count, why, stuck) for (gpu, why, stuck), count in counts.items()]
    return sorted(rows, key=lambda row: (row.gpu, -row.count, row.why))


def _why(group: Group, workers: Sequence[WorkerInfo], here: Coordinator) -> tuple[str, bool]:
    """Why a group waits, and whether somebody has to do something about it. The same words for as long as it does."""
    if group.held:
        return "paused: `farm sweep resume` lets them go", True
    obstacles = [_no_worker(group, workers)]
    if not (here.alive or group.sent):
        obstacles.append(NO_COORDINATOR)
    if group.refusal:
        obstacles.append(group.refusal)
    if stated := [obstacle for obstacle in obstacles if obstacle]:
        return "; ".join(stated), True
    if group.later:
        return "backing off after an attempt that failed", False
    serving = [worker for worker in workers if worker.alive and not worker.off]
    busy = sum(worker.state == "busy" for worker in serving)
    off = "".join(f"; {worker.name} is off ({worker.off})" for worker in workers if worker.alive and worker.off)
    return f"their turn comes: {busy} of {len(serving)} worker(s) at work{off}", False


def _no_worker(group: Group, workers: Sequence[WorkerInfo]) -> str:
    """Why nobody takes a job from the queue; empty where somebody does."""
    if not workers:
        return f"no worker serves the queue {group.queue}: start `farm worker --gpu {group.gpu}`"
    living = [worker for worker in workers if worker.alive]
    if not living:
        last = min(workers, key=lambda worker: worker.silent_seconds)
        return f"every worker of the queue {group.queue} is silent, {last.name} the last"
    here = [worker for worker in living if not worker.off]
    if not here:
        shown = "; ".join(f"{worker.name} ({worker.off})" for worker in living[:3])
        return f"every device of the queue {group.queue} is off: {shown}"
    living = here
    if all(worker.drain_requested or worker.state == "draining" for worker in living):
        return f"every worker of the queue {group.queue} was asked to drain: {', '.join(w.name for w in living[:3])}"
    absent = [worker for worker in living if worker.state == NO_DEVICE]
    if len(absent) == len(living):
        return f"no worker of the queue {group.queue} has its device: {', '.join(w.name for w in absent[:3])}"
    return ""
