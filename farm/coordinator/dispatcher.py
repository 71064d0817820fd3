"""The coordinator's loop: SQL says what is to be done, the broker's queues are kept just full enough.

Everything here may be done twice, or by two coordinators at once: a doubled message is refused by the claim, reaping
and limits are single statements of SQL, a refit takes a lease.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from farm.broker.app import Broker
from farm.coordinator.adapt import AdaptiveTicker
from farm.coordinator.outbox import OutboxTicker
from farm.coordinator.refit import RefitTicker
from farm.domain.errors import OperationError
from farm.health import HealthChecks
from farm.jobs import CoordinatorJobs
from farm.settings import Settings

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.2  # between two looks at the queues while there is work
REPEAT_SECONDS: Final = 30.0  # between two lines that say the same is still away
BOUND_SECONDS: Final = 600.0  # between two looks at how much room the power logs take
BACK_OFF_SECONDS: Final = (0.5, 1.0, 2.0, 5.0)  # after the first, second, ... failure in a row


@dataclass
class Window:
    """How many messages may wait on one queue.

    Small, so that a flushed broker or a cancelled sweep is a matter of seconds; it doubles while workers find the
    queue empty (short jobs) and halves while they do not.
    """

    smallest: int = 4
    largest: int = 512
    size: int = 4

    def room(self, waiting: int) -> int:
        """How many to send, when so many still wait."""
        if waiting == 0:
            self.size = min(self.size * 2, self.largest)
        elif waiting > self.size // 2:
            self.size = max(self.size // 2, self.smallest)
        return max(self.size - waiting, 0)


class Dispatcher:
    """One coordinator. ``name`` tells it apart from others; ``clock`` gives monotonic seconds."""

    def __init__(
        self,
        jobs: CoordinatorJobs,
        broker: Broker,
        settings: Settings,
        *,
        name: str,
        refit: RefitTicker | None = None,
        outbox: OutboxTicker | None = None,
        health: HealthChecks | None = None,
        adapt: AdaptiveTicker | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs = jobs
        self._broker = broker
        self._settings = settings
        self._name = name
        self._refit = refit
        self._outbox = outbox
        self._health = health
        self._adapt = adapt
        self._clock = clock
        self._bound_from = float("-inf")  # when the raw logs are looked at next
        self._windows: defaultdict[str, Window] = defaultdict(Window)
        self._queues: list[str] = []
        self._every_from = float("-inf")  # when all queues are looked at next, not only those that are empty
        self._touched: float | None = None
        self._reap_from = float("-inf")

    def run(self, stop: threading.Event) -> None:
        """Coordinate until ``stop`` is set. A database or broker that is away is waited for, never given up."""
        failures = 0
        said = float("-inf")
        next_tick = self._clock()
        while not stop.is_set():
            pause = POLL_SECONDS
            if due := self._clock() >= next_tick:
                next_tick = self._clock() + self._settings.tick_seconds
            problems = list(self._round(tick=due))
            if problems:
                if self._clock() - said >= REPEAT_SECONDS:
                    said = self._clock()
                    logger.error("coordinator: %s; trying again", problems[0])
                pause = BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)]
                failures += 1
                next_tick = self._clock()
            else:
                if not self._queues:
                    pause = min(self._settings.tick_seconds, 1.0)
                if failures:
                    logger.info("coordinator: working again")
                failures, said = 0, float("-inf")
            stop.wait(pause)

    def _round(self, *, tick: bool) -> Iterator[OperationError]:
        """Do each thing, whether or not another fails; what failed."""
        for step in (*(self._steps if tick else ()), self.top_up):
            try:
                step()
            except OperationError as error:
                yield error

    def tick(self) -> None:
        """Do everything that is done once in a while."""
        for step in self._steps:
            step()

    @property
    def _steps(self) -> tuple[Callable[[], None], ...]:
        return (
            self.reap,
            self.enforce_limits,
            self.look_at_devices,
            self.look_at_queues,
            self.refit,
            self.adapt,
            self.bound_raw_logs,
            self.send_events,
        )

    def reap(self) -> None:
        """Take back jobs whose lease ended."""
        if self._may_reap():
            taken = self._jobs.reap()
            if taken:
                logger.warning("coordinator: %d job(s) taken back from silent workers", taken)

    def enforce_limits(self) -> None:
        """End sweeps at their deadline or joule budget."""
        ended = self._jobs.enforce_limits()
        if ended:
            logger.warning("coordinator: %d job(s) cancelled at their sweep's deadline or joule budget", ended)

    def look_at_devices(self) -> None:
        """See which devices are there and well; ask for health checks that are due."""
        self._jobs.watch_devices()
        if self._health is not None:
            self._health.look()

    def bound_raw_logs(self) -> None:
        """Drop the oldest power logs, where there are too many."""
        if self._clock() >= self._bound_from:
            self._bound_from = self._clock() + BOUND_SECONDS
            if dropped := self._jobs.bound_raw_logs():
                logger.warning("coordinator: the power logs of %d measurement(s) were dropped to make room", dropped)

    def send_events(self) -> None:
        """Have people told of what happened."""
        self._jobs.tell_of_done_sweeps()
        if self._outbox is not None and self._outbox.wanted:
            self._outbox.tick(self._jobs.events_due())

    def look_at_queues(self) -> None:
        """See which queues have work, and make due again what was sent and lost."""
        self._queues = self._jobs.queues()
        grace = self._settings.message_grace_seconds
        # A queue that is empty costs little to look at, one with many jobs sent takes reading them.
        if every := self._clock() >= self._every_from:
            self._every_from = self._clock() + grace
        for queue in self._queues:
            waiting = self._broker.waiting(queue)
            if every or waiting == 0:
                lost = self._jobs.resend_unclaimed(queue, waiting=waiting, older_than=grace)
                if lost:
                    logger.warning("coordinator: %d message(s) on %s were lost and are sent again", lost, queue)

    def refit(self) -> None:
        """Have the laws fitted again where results are new."""
        if self._refit is not None:
            self._refit.tick(self._jobs.result_count())

    def adapt(self) -> None:
        """Have it chosen what adaptive sweeps measure next."""
        if self._adapt is not None:
            self._adapt.tick(open_sweeps=self._jobs.has_adaptive_sweeps())

    def top_up(self) -> int:
        """Send what is due on every queue that has room; returns how many messages went out."""
        sent = 0
        for queue in self._queues:
            room = self._windows[queue].room(self._broker.waiting(queue))
            due = self._jobs.due(queue, room) if room else []
            if due:
                # Marked before: a worker may be quicker than we are, and what it notes of a job must stay. Should we
                # die in between, they are sent again as lost ones are.
                self._jobs.mark_sent(due)
                try:
                    self._broker.send(queue, due)
                except OperationError:
                    self._jobs.mark_unsent(due)
                    raise
                sent += len(due)
        return sent

    def close(self) -> None:
        for child in (self._refit, self._outbox, self._adapt):
            if child is not None:
                child.close()
        self._broker.close()

    def _may_reap(self) -> bool:
        """Whether jobs may be taken back now.

        The gap rule: when no coordinator was there for long (or this one could not reach the database), workers could
        not renew their leases either; they are given one lease's time before any is taken back. Half a lease is long: a
        lease that was last renewed some time before such a gap may end with it.
        """
        lease = self._settings.lease_seconds
        gap = self._jobs.touch_coordinator(self._name)
        now = self._clock()
        gap_here = now - self._touched if self._touched is not None else 0.0
        self._touched = now
        if max(gap, gap_here) > lease / 2:
            self._reap_from = now + lease
        return now >= self._reap_from
