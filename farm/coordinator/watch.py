"""Notices that the coordinator is gone, for processes beside it: who is gone cannot say so.

Workers write the event down (`farm.jobs.WorkerJobs.report`); `farm serve` sends it, where it has receivers. Both know
it by the same id, so that it may come twice and is told apart.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from farm.database import opened
from farm.domain.errors import FarmError
from farm.domain.event import EventKind, event_id
from farm.receivers import Receivers
from farm.settings import Settings
from farm.store import waiting

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 10.0  # between two looks


class CoordinatorWatch(threading.Thread):
    """Looks every while until it is stopped. Without receivers it has nothing to do and ends."""

    def __init__(self, settings: Settings, db: str | None = None, *, look_seconds: float = LOOK_SECONDS) -> None:
        """RequestError for a receiver that is none."""
        super().__init__(name="coordinator watch", daemon=True)
        self._settings = settings
        self._db = db
        self._receivers = Receivers.of(settings)
        self._look_seconds = look_seconds
        self._ended = threading.Event()
        self._told: dict[str, set[str]] = {}  # event id -> receivers that have it

    def run(self) -> None:
        if self._receivers is None:
            return
        while not self._ended.wait(self._look_seconds):
            try:
                self.look(self._receivers)
            except FarmError as error:
                logger.warning("coordinator watch: %s", error)

    def look(self, receivers: Receivers) -> None:
        """Tell of a coordinator that is gone, once to everybody."""
        with opened(self._db, settings=self._settings, create=False) as store, store.read() as db:
            gone = waiting.gone(db, self._settings.coordinator_gone_seconds)
        if gone is None:
            return
        identity = event_id(EventKind.COORDINATOR_GONE, gone.key)
        have = self._told.setdefault(identity, set())
        if len(have) < len(receivers.all):
            row = {"id": identity, "kind": str(EventKind.COORDINATOR_GONE), "text": gone.text}
            took, error = receivers.send([row], have=have)
            have.update(took)
            if error:
                logger.warning("coordinator watch: %s", error)

    def stop(self) -> None:
        """End it; a message on its way is not waited for."""
        self._ended.set()
