"""What a worker may do to jobs, and what the coordinator may: a class for each, their only doors to the database.

``WorkerJobs`` needs no more than a worker's role of PostgreSQL is granted (``farm.store.roles``), so a worker that is
taken over can do no more than its methods do. ``CoordinatorJobs`` is for the owner of the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import cycle, islice
from typing import Self

from farm.actor import user_at_host
from farm.domain import AttemptEnd, Failure, Infeasible, Job, Measurement, RequestError
from farm.domain.event import EventKind
from farm.domain.job import MAX_JOB_ID
from farm.domain.worker import WorkerInfo
from farm.health import HealthChecks
from farm.settings import Settings
from farm.store import (
    adaptive,
    devices,
    events,
    hosts,
    leases,
    limits,
    messages,
    prompts,
    records,
    refits,
    results,
    sweeps,
    waiting,
)
from farm.store.engine import RowLocked, Store

# Fields of WorkerInfo that are not the worker's to say.
SET_BY_DATABASE = (
    "started_at", "seen_at", "silent_seconds", "drain_requested",
    "off_kind", "off_reason", "off_since", "suspect_since",
)  # fmt: skip
# A claim waits for who sweeps over many jobs; not for one that hangs with the job: its message is sent again.
CLAIM_LOCK_SECONDS = 1.0


class _Jobs:
    """The jobs of one database, with the settings that say how long leases are. Every call is one transaction."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    @classmethod
    def open(cls, settings: Settings, *, create: bool = True) -> Self:
        """The jobs of the settings' database; whoever opens them closes them. Raises as ``Store.open`` does."""
        return cls(Store.open(settings, create=create), settings)

    @property
    def database(self) -> str:
        """Which database this is, wherever it is reached."""
        assert self._store.identity is not None  # known once it is opened
        return self._store.identity

    def close(self) -> None:
        """Let go of the database."""
        self._store.close()


class WorkerJobs(_Jobs):
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
            return leases.claim(
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
            return leases.offer_again(db, queue)

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
            leases.offer_again(db, info.queue)

    def refuse_mixing(self, gpu: str, *, simulate: bool) -> None:
        """Of one GPU type a farm's rows are all simulated or none: RequestError for a worker that would mix them.

        Otherwise a sweep for real devices would take simulated rows for measured ones, or a simulated device its jobs.
        """
        with self._store.read() as db:
            has_rows = results.has_own(db, gpu, simulated=not simulate)
            workers = [WorkerInfo(**row) for row in hosts.workers(db)]
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
            others = [WorkerInfo(**row) for row in hosts.workers(db) if row["name"] == name]
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


class CoordinatorJobs(_Jobs):
    """The coordinator's side: which messages to send, which leases ended, what limits are reached."""

    def reap(self) -> int:
        """Take back jobs whose lease expired, or fail them after max_attempts; how many."""
        with self._store.write() as db:
            return leases.reap(db, max_attempts=self._settings.max_attempts)

    def due(self, queue: str, limit: int) -> list[int]:
        """The next jobs to send, in the order of their sweeps."""
        with self._store.read() as db:
            return messages.due(db, queue, limit)

    def mark_sent(self, job_ids: Sequence[int]) -> None:
        """Note that their messages go to the broker now."""
        with self._store.write() as db:
            messages.mark_sent(db, job_ids)

    def mark_unsent(self, job_ids: Sequence[int]) -> None:
        """Note that the broker did not take all of them: they are sent again, and what comes twice is harmless."""
        with self._store.write() as db:
            messages.mark_unsent(db, job_ids)

    def resend_unclaimed(self, queue: str, *, waiting: int, older_than: float) -> int:
        """Make due again what was sent so many seconds ago, is unclaimed and not among those waiting; how many."""
        with self._store.write() as db:
            return messages.resend_unclaimed(db, queue, waiting=waiting, older_than=older_than)

    def queues(self) -> list[str]:
        """Queues that have open jobs."""
        with self._store.read() as db:
            return messages.queues(db)

    def open_jobs(self) -> int:
        """How many jobs are queued or running."""
        with self._store.read() as db:
            return messages.open_jobs(db)

    def touch_coordinator(self, name: str) -> float:
        """Say that this coordinator is here now; returns the seconds since any last was (infinity: never)."""
        with self._store.write() as db:
            return hosts.touch_coordinator(db, name)

    def enforce_limits(self) -> int:
        """Cancel what is still queued of sweeps past their deadline or joule budget; how many jobs."""
        with self._store.write() as db:
            return limits.enforce(db, f"coordinator of {user_at_host()}")

    def result_count(self) -> int:
        """How many measurements and imported rows there are."""
        with self._store.read() as db:
            return refits.result_count(db)

    def events_due(self) -> bool:
        """Whether events wait to be sent."""
        with self._store.read() as db:
            return bool(events.due_kinds(db, self._settings.events_gather_seconds))

    def tell_of_done_sweeps(self) -> int:
        """Have people told of sweeps whose last open job has ended; how many."""
        with self._store.write() as db:
            done = sweeps.newly_done(db)
            for sweep in done:
                text = f"sweep {sweep['name']} is done: {sweep['done']} measured, {sweep['failed']} failed for good"
                events.record(db, EventKind.SWEEP_DONE, text, sweep, key=f"{sweep['sweep']} {sweep['done_at']}")
            return len(done)

    def watch_devices(self) -> None:
        """Know the devices of all workers; have people told of those that are not there, and of results on disks."""
        with self._store.write() as db:
            devices.watch(db, spool_seconds=self._settings.lease_seconds)

    def health_checks(self) -> HealthChecks:
        """The health checks of this database. RequestError where the settings ask for what cannot be."""
        return HealthChecks(self._store, self._settings)

    def bound_raw_logs(self) -> int:
        """Drop the oldest power logs where all of them take more room than the settings allow; how many."""
        with self._store.read() as db:
            if results.samples_bytes(db) <= self._settings.raw_logs_bytes:
                return 0
        with self._store.write() as db:
            return results.drop_oldest_samples(db, self._settings.raw_logs_bytes)

    def has_adaptive_sweeps(self) -> bool:
        """Whether it is to be chosen what some sweep measures next."""
        with self._store.read() as db:
            return bool(adaptive.to_choose(db))
