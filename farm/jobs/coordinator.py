"""What the coordinator may do to jobs."""

from __future__ import annotations

from collections.abc import Sequence

from farm.actor import user_at_host
from farm.domain.event import EventKind
from farm.health import HealthChecks
from farm.jobs.base import Jobs
from farm.store import adaptive, devices, events, hosts, leases, limits, messages, refits, results, sweeps


class CoordinatorJobs(Jobs):
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
