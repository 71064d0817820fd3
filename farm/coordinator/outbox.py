"""Sends what waits in the outbox: in a process of its own, since a mail server may hang and a library may crash.

At least once: an event is noted as sent after its receivers took it. Its id lets them drop what comes twice.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from farm import imports
from farm.coordinator.child import Child
from farm.database import opened
from farm.receivers import Receivers
from farm.settings import Settings, load
from farm.store import events

logger = logging.getLogger(__name__)


class OutboxTicker:
    """Starts at most one sender at a time, and only where somebody wants to be told and something waits."""

    def __init__(
        self,
        settings: Settings,
        *,
        command: Sequence[str] = tuple(imports.python("-m", "farm.coordinator.outbox")),
    ) -> None:
        """RequestError for a receiver that is none."""
        self.wanted = Receivers.of(settings) is not None
        self._child = Child(settings, "events", command)

    def tick(self, due: bool) -> bool:
        """Given whether something waits, start a sender; whether it did."""
        if not (self.wanted and due) or self._child.running:
            return False
        self._child.start()
        return True

    def close(self) -> None:
        """End the sender."""
        self._child.close()


def send(settings: Settings) -> int:
    """Send what waits now, a message a kind; how many events reached everybody."""
    receivers = Receivers.of(settings)
    if receivers is None:
        return 0
    sent = 0
    with opened(settings=settings, create=False) as store:
        with store.read() as db:
            kinds = events.due_kinds(db, settings.events_gather_seconds)
        for kind in kinds:
            with store.write() as db:
                rows = events.claim(db, kind)
            if not rows:
                continue
            have = set.intersection(*(set(row["delivered"]) for row in rows))
            took, error = receivers.send(rows, have=have)
            with store.write() as db:
                events.settle(db, rows, took, error)
            if error is None:
                sent += len(rows)
            else:
                logger.warning("%d event(s) of kind %s wait for another try: %s", len(rows), kind, error)
    return sent


def main() -> None:
    """Send what waits now; the program of the ticker's process."""
    from farm import logs

    settings = load()
    logs.configure(settings)
    logger.info("%d event(s) sent", send(settings))


if __name__ == "__main__":
    main()
