"""What workers and the coordinator may do to jobs. The database is the truth; this is the only door to it for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from typing import Any, Final

from farm.domain import AttemptEnd, Failure, Infeasible, Job, Measurement, RequestError
from farm.settings import Settings
from farm.store import hosts, leases, limits, messages, prompts, records, refits, results
from farm.store.engine import Store

MAX_ID: Final = 2**31 - 1  # what the column holds
SIMULATED: Final = "sim-"  # names and identities of simulated devices begin with it


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerInfo:
    """A worker, as it says it is. Times are seconds since 1970 by the database's clock; it sets them."""

    name: str  # unique in the farm
    gpu: str  # catalog name of the type that it measures
    queue: str
    device_name: str
    device_uuid: str
    host: str
    pid: int
    code_version: str
    state: str = "idle"  # idle, busy, draining
    job_id: int | None = None
    started_at: float = 0.0
    seen_at: float = 0.0
    silent_seconds: float = 0.0  # since seen_at
    spool_waiting: int = 0  # results on its disk that SQL does not have yet
    drain_requested: bool = False

    @property
    def simulated(self) -> bool:
        return self.device_uuid.startswith(SIMULATED)


class Jobs:
    """Jobs, leases, doorbells and workers of one farm. Every call is one transaction."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self._prompts: tuple[str, tuple[str, ...]] | None = None  # the list last asked for: jobs of a sweep share it

    # --- a worker's side

    def claim(self, job_id: int, *, worker: str, queue: str) -> Job | None:
        """Take a job: None where it is done, cancelled, paused, leased by another, of another queue or backing off.

        Or where there is no such job, whatever number a message brought. ``Job.attempt`` is the fencing token. A
        worker may claim again what it holds: its child died.
        """
        if not 0 < job_id <= MAX_ID:
            return None
        with self.store.write() as db:
            return leases.claim(
                db,
                job_id,
                worker=worker,
                queue=queue,
                lease_seconds=self.settings.lease_seconds,
                max_attempts=self.settings.max_attempts,
            )

    def heartbeat(self, job_id: int, attempt: int) -> bool:
        """Keep the lease. False: fenced or cancelled, abort."""
        with self.store.write() as db:
            return leases.heartbeat(db, job_id, attempt, lease_seconds=self.settings.lease_seconds)

    def record(
        self,
        job_id: int,
        attempt: int,
        worker: str,
        measurement: Measurement,
        *,
        samples: bytes | None = None,
        accept: bool = True,
    ) -> bool:
        """Store what was found; True where it is the job's measurement now. Safe to repeat; never fenced.

        With ``accept=False`` the finding is only kept for audit and the job stays as it is.
        """
        with self.store.write() as db:
            return records.record(db, job_id, attempt, worker, measurement, samples=samples, accept=accept)

    def fail(self, job_id: int, attempt: int, worker: str, failure: Failure) -> None:
        """An attempt found nothing: try again later, or give up."""
        end = AttemptEnd(failure.reason) if failure.reason in set(AttemptEnd) else AttemptEnd.ERROR
        with self.store.write() as db:
            leases.fail(
                db,
                job_id,
                attempt,
                end,
                failure.message,
                detail={**failure.detail, "worker": worker},
                retry=failure.retry,
                max_attempts=self.settings.max_attempts,
                back_off=self.settings.retry_seconds,
            )

    def release(
        self, job_id: int, attempt: int, worker: str, *, reason: str = "it stops", delay_seconds: float = 0.0
    ) -> None:
        """A worker hands its job back, unmeasured; that costs no attempt. It is not offered again before the delay."""
        with self.store.write() as db:
            leases.release(db, job_id, attempt, f"handed back by {worker}: {reason}", delay_seconds=delay_seconds)

    def count_load(self, job_id: int) -> None:
        """A pipeline was loaded for this job."""
        with self.store.write() as db:
            leases.count_load(db, job_id)

    def get(self, job_id: int) -> Job | None:
        """The job as it stands."""
        with self.store.read() as db:
            return leases.load(db, job_id)

    def prompts(self, sha256: str) -> tuple[str, ...]:
        """The prompt list of that hash."""
        if self._prompts is None or self._prompts[0] != sha256:
            with self.store.read() as db:
                found = prompts.get(db, sha256)
            if found is None:
                raise Infeasible(f"prompt list {sha256[:12]}: not in this database")
            self._prompts = (sha256, tuple(found))
        return self._prompts[1]

    def prompts_of(self, job: Job) -> tuple[str, ...]:
        """As many prompts as the job asks for; a shorter list starts over."""
        if job.prompts_sha256 is None:
            raise Infeasible(f"job {job.id}: has no prompt list")
        return tuple(islice(cycle(self.prompts(job.prompts_sha256)), job.configuration.prompts))

    def register(self, info: WorkerInfo) -> None:
        """A worker starts."""
        values = asdict(info)
        for name in ("started_at", "seen_at", "silent_seconds", "drain_requested"):
            del values[name]
        with self.store.write() as db:
            hosts.register(db, values)

    def refuse_mixing(self, gpu: str, *, simulate: bool) -> None:
        """Of one GPU type a farm's rows are all simulated or none: RequestError for a worker that would mix them.

        Otherwise a sweep for real devices would take simulated rows for measured ones, or a simulated device its jobs.
        """
        with self.store.read() as db:
            rows = results.has_own(db, gpu, simulated=not simulate)
        others = [
            worker
            for worker in self.workers()
            if worker.gpu == gpu
            and worker.simulated != simulate
            and worker.silent_seconds < self.settings.lease_seconds
        ]
        if rows or others:
            kind, here = ("real", "simulated") if simulate else ("simulated", "real")
            found = f"measurements of {kind} devices" if rows else f"a worker on a {kind} device, {others[0].name}"
            remedy = f"the farm has {found} of that type: give {here} ones a FARM_HOME (and database) of their own"
            raise RequestError("GPU type", gpu, remedy)

    def take_back(self, worker: str) -> int:
        """A worker starts that had jobs: the process that held them is gone, nobody need wait for their leases."""
        with self.store.write() as db:
            return leases.take_back(db, worker, max_attempts=self.settings.max_attempts)

    def seen(self, name: str, **values: Any) -> bool:
        """A worker lives; ``state``, ``job_id``, ``spool_waiting`` as they are now. False: it must register again."""
        with self.store.write() as db:
            return hosts.seen(db, name, values)

    def leave(self, name: str) -> None:
        """A worker stopped."""
        with self.store.write() as db:
            hosts.leave(db, name)

    def workers(self) -> list[WorkerInfo]:
        with self.store.read() as db:
            return [WorkerInfo(**row) for row in hosts.workers(db)]

    def request_drain(self, name: str | None = None) -> int:
        """Ask a worker, or all, to finish and stop; how many were asked."""
        with self.store.write() as db:
            return hosts.request_drain(db, name)

    def drain_requested(self, name: str) -> bool:
        with self.store.read() as db:
            return hosts.drain_requested(db, name)

    # --- the coordinator's side

    def reap(self) -> int:
        """Take back jobs whose lease expired, or fail them after max_attempts; how many."""
        with self.store.write() as db:
            return leases.reap(db, max_attempts=self.settings.max_attempts)

    def due(self, queue: str, limit: int) -> list[int]:
        """The next jobs to send, in the order of their sweeps."""
        with self.store.read() as db:
            return messages.due(db, queue, limit)

    def mark_sent(self, job_ids: Sequence[int]) -> None:
        """Called after they were put on the broker; a doorbell that rings twice is harmless."""
        with self.store.write() as db:
            messages.mark_sent(db, job_ids)

    def lost_doorbells(self, queue: str, *, older_than: float) -> int:
        """Make sendable again what was sent so many seconds ago and never claimed."""
        with self.store.write() as db:
            return messages.lost(db, queue, older_than=older_than)

    def queues(self) -> list[str]:
        """Queues that have open jobs."""
        with self.store.read() as db:
            return messages.queues(db)

    def open_jobs(self) -> int:
        """Jobs that are queued or running."""
        with self.store.read() as db:
            return messages.open_jobs(db)

    def touch_coordinator(self, name: str) -> float:
        """Seconds since any coordinator was last here (infinity: never); says that this one is here now."""
        with self.store.write() as db:
            return hosts.touch_coordinator(db, name)

    def enforce_limits(self) -> int:
        """Cancel what is still queued of sweeps past their deadline or joule budget; how many jobs."""
        with self.store.write() as db:
            return limits.enforce(db)

    # --- the refit's side

    def result_count(self) -> int:
        """Measurements and imported rows there are."""
        with self.store.read() as db:
            return refits.result_count(db)

    def take_refit_lease(self, *, lease_seconds: float) -> tuple[int, int] | None:
        """(token, result count) where results are new and nobody else refits; None otherwise."""
        with self.store.write() as db:
            return refits.take_lease(db, lease_seconds=lease_seconds)

    def finish_refit(self, token: int, *, covered: int, fits: Sequence[dict[str, Any]] = ()) -> bool:
        """Store the fits (columns of tables.Fit) with what they cover; False, and nothing stored, when too late."""
        with self.store.write() as db:
            if not refits.finish(db, token, covered=covered):
                return False
            for fit in fits:
                refits.add_fit(db, fit)
            return True

    def give_up_refit(self, token: int) -> None:
        """The refit failed; the next tick may try again."""
        with self.store.write() as db:
            refits.give_up(db, token)
