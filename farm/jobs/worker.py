"""What a worker may do to jobs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from itertools import cycle, islice

from farm.domain import AttemptEnd, Failure, Infeasible, Job, Measurement, RequestError
from farm.domain.event import EventKind
from farm.domain.job import MAX_JOB_ID
from farm.domain.worker import WorkerInfo
from farm.jobs.base import Jobs
from farm.settings import Settings
from farm.store import claims, devices, events, hosts, leases, prompts, records, results, waiting
from farm.store.engine import RowLocked, Store

# Fields of WorkerInfo that are not the worker's to say.
SET_BY_DATABASE = (
    "started_at", "seen_at", "silent_seconds", "drain_requested",
    "off_kind", "off_reason", "off_since", "suspect_since",
)  # fmt: skip
# A claim waits for who sweeps over many jobs; not for one that hangs with the job: its message is sent again.
CLAIM_LOCK_SECONDS = 1.0


class WorkerJobs(Jobs):
    """The worker's side: claims, leases, results, its own registration."""

    def __init__(self, store: Store, settings: Settings) -> None:
        super().__init__(store, settings)
        self._prompts: tuple[str, tuple[str, ...]] | None = None  # the list last asked for: jobs of a sweep share it

    def claim(
        self, job_id: int, *, worker: str, queue: str, objection: Callable[[Job], str] = lambda _job: ""
    ) -> Job | None:
        """Take a job: None where it is done, cancelled, paused, leased by another, of another queue or backing off.

        Or where there is no such job, whatever number a message brought. ``Job.attempt`` is the fencing token. A
        worker may claim again what it holds: its child died. Where ``objection`` has something to say against the job,
        that is written down as why it waits, and it is offered again later; this costs no attempt.
        """
        if not 0 < job_id <= MAX_JOB_ID:
            return None
        with suppress(RowLocked), self._store.exchange(lock_seconds=CLAIM_LOCK_SECONDS) as db:
            return claims.claim(
                db,
                job_id,
                worker=worker,
                queue=queue,
                lease_seconds=self._settings.lease_seconds,
                max_attempts=self._settings.max_attempts,
                objection=objection,
            )
        return None

    def offer_again(self, queue: str) -> int:
        """Have the jobs of a queue that workers refused offered again at once; how many."""
        with self._store.write() as db:
            return claims.offer_again(db, queue)

    def heartbeat(self, job_id: int, attempt: int) -> bool:
        """Keep the lease. False: the attempt lost its job or the job was cancelled, so it must end."""
        with self._store.exchange() as db:
            return leases.heartbeat(db, job_id, attempt, lease_seconds=self._settings.lease_seconds)

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
        """Store a measurement; True where it is the job's now. Safe to repeat; never fenced.

        With ``accept=False`` it is only kept for audit and the job stays as it is.
        """
        with self._store.exchange() as db:
            return records.record(db, job_id, attempt, worker, measurement, samples=samples, accept=accept)

    def fail(self, job_id: int, attempt: int, worker: str, failure: Failure) -> None:
        """End an attempt that has no measurement: its job is tried again later, or has failed."""
        end = AttemptEnd(failure.reason) if failure.reason in set(AttemptEnd) else AttemptEnd.ERROR
        with self._store.write() as db:
            leases.fail(
                db,
                job_id,
                attempt,
                end,
                failure.message,
                detail={**failure.detail, "worker": worker},
                retry=failure.retry,
                max_attempts=self._settings.max_attempts,
                back_off=self._settings.retry_seconds,
            )

    def release(self, job_id: int, attempt: int, worker: str, *, reason: str = "it stops") -> None:
        """Hand a job back, unmeasured; that costs no attempt."""
        with self._store.write() as db:
            leases.release(db, job_id, attempt, f"handed back by {worker}: {reason}")

    def count_load(self, job_id: int) -> None:
        """Count that a pipeline was loaded for this job."""
        with self._store.exchange() as db:
            leases.count_load(db, job_id)

    def prompts_of(self, job: Job) -> tuple[str, ...]:
        """As many prompts as the job asks for; a shorter list starts over. Infeasible where its list is missing."""
        if job.prompts_sha256 is None:
            raise Infeasible(f"job {job.id}: has no prompt list")
        return tuple(islice(cycle(self._prompt_list(job.prompts_sha256)), job.configuration.prompts))

    def _prompt_list(self, sha256: str) -> tuple[str, ...]:
        if self._prompts is None or self._prompts[0] != sha256:
            with self._store.read() as db:
                stored = prompts.get(db, sha256)
            if stored is None:
                raise Infeasible(f"prompt list {sha256[:12]}: not in this database")
            self._prompts = (sha256, tuple(stored))
        return self._prompts[1]

    def register(self, info: WorkerInfo) -> None:
        """Say that a worker starts; jobs that others refused are offered again, since it may do them."""
        values = {name: value for name, value in asdict(info).items() if name not in SET_BY_DATABASE}
        with self._store.write() as db:
            hosts.register(db, values)
            claims.offer_again(db, info.queue)

    def refuse_mixing(self, gpu: str, *, simulate: bool) -> None:
        """Refuse a worker that would mix simulated and real rows of one GPU type in a farm. RequestError.

        Otherwise a sweep for real devices would take simulated rows for measured ones, or a simulated device its jobs.
        """
        with self._store.read() as db:
            has_rows = results.has_own(db, gpu, simulated=not simulate)
            workers = hosts.workers(db)
        others = [
            worker
            for worker in workers
            if worker.gpu == gpu
            and worker.simulated != simulate
            and worker.silent_seconds < self._settings.lease_seconds
        ]
        if has_rows or others:
            theirs, ours = ("real", "simulated") if simulate else ("simulated", "real")
            worker_there = f"a worker on a {theirs} device, {others[0].name}" if others else ""
            there = f"measurements of {theirs} devices" if has_rows else worker_there
            remedy = f"the farm has {there} of that type: give {ours} ones a FARM_HOME (and database) of their own"
            raise RequestError("GPU type", gpu, remedy)

    def refuse_namesake(self, name: str, *, machine: str, device_uuid: str) -> None:
        """RequestError where a worker of that name lives on another machine or device.

        Under one name the two would take each other's running jobs for their own, left from before a restart.
        """
        with self._store.read() as db:
            others = [worker for worker in hosts.workers(db) if worker.name == name]
        for other in others:
            if other.alive and (other.device_uuid != device_uuid or (other.machine and other.machine != machine)):
                where = "another device" if other.machine == machine else "another machine"
                remedy = f"a host name of its own: a worker of that name is at work on {where}"
                raise RequestError("worker", name, f"{remedy} (seen {other.silent_seconds:.0f} s ago)")

    def take_back(self, worker: str) -> int:
        """Queue again what a worker of that name held: its process is gone, nobody need wait for its leases to end."""
        with self._store.write() as db:
            return leases.take_back(db, worker, max_attempts=self._settings.max_attempts)

    def report(
        self,
        name: str,
        *,
        state: str,
        job_id: int | None,
        spool_waiting: int,
        power_watts: float | None = None,
        temperature_celsius: float | None = None,
    ) -> bool:
        """Say that a worker lives, what it does now and what its device draws. False: the database does not know it, it
        must register."""
        values = {
            "state": state, "job_id": job_id, "spool_waiting": spool_waiting,
            "power_watts": power_watts, "temperature_celsius": temperature_celsius,
        }  # fmt: skip
        with self._store.write() as db:
            if (absent := waiting.gone(db, self._settings.coordinator_gone_seconds)) is not None:
                told = {"noticed_by": name}
                events.record(db, EventKind.COORDINATOR_GONE, absent.text, told, key=absent.key)
            return hosts.report(db, name, values)

    def drain_requested(self, name: str) -> bool:
        """Whether the worker was asked to finish its job and stop."""
        with self._store.read() as db:
            return hosts.drain_requested(db, name)

    def device_off(self, worker: str) -> str | None:
        """Why the device of a worker takes no jobs; None where it takes them."""
        with self._store.read() as db:
            return devices.off(db, worker)

    def leave(self, name: str) -> None:
        """Say that a worker has stopped."""
        with self._store.write() as db:
            hosts.leave(db, name)
