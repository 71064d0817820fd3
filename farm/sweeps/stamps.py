"""Stamps of jobs: which code and which catalog entries a job was submitted with, and how it gets those of today."""

from __future__ import annotations

from farm import catalog
from farm.domain import RequestError
from farm.store import stamps
from farm.store.engine import Connection
from farm.version import __version__


def renew(db: Connection, sweep_id: int) -> int:
    """Stamp the sweep's queued jobs with the catalog entries that this host has; how many had others.

    What the catalog has no more stays as it was: why it waits is said by ``farm.waiting``.
    """
    renewed = 0
    for stamped in stamps.of_queued(db, sweep_id):
        try:
            digest = catalog.digest(stamped.example)
        except RequestError:
            continue
        if digest != stamped.catalog_version:
            renewed += stamps.renew(db, sweep_id, stamped, catalog_version=digest, code_version=__version__)
    return renewed
