"""Which jobs a worker may measure: those that mean the same here as where they were submitted."""

from __future__ import annotations

import logging

from farm import catalog
from farm.domain import Job, RequestError
from farm.jobs import WorkerJobs
from workers.device.identity import WorkerIdentity

logger = logging.getLogger(__name__)


class Eligibility:
    """Compares jobs with this host's catalog, which it reads again when a lab changed its own files."""

    def __init__(self, identity: WorkerIdentity, jobs: WorkerJobs) -> None:
        self._identity = identity
        self._jobs = jobs
        self._complaint = ""  # the last about the catalog's files; said once

    def look_at_catalog(self) -> None:
        """Read changed files, and have refused jobs offered again then. A broken file leaves the catalog as it was.

        OperationError where the database is away.
        """
        try:
            changed = catalog.reload()
            self._complaint = ""
        except RequestError as error:
            if str(error) != self._complaint:
                logger.error("worker %s: its catalog stays as it was: %s", self._identity.name, error)
                self._complaint = str(error)
            return
        if changed:
            logger.info("worker %s: its catalog changed and was read again", self._identity.name)
            self._jobs.offer_again(self._identity.queue)

    def objection(self, job: Job) -> str:
        """Why this worker must not measure that job; empty where it may. The code's version is no reason by itself."""
        here = self._identity
        c = job.configuration
        if c.gpu != here.gpu:
            return f"{here.name} measures {here.gpu}, the job is for {c.gpu}"
        try:
            same = catalog.digest(c) == job.catalog_version
        except RequestError as error:
            return f"{here.name} lacks it in its catalog: {error}"
        if same:
            return ""
        return (
            f"submitted with another catalog entry of {c.model} or {c.gpu} than {here.name} has: "
            "give that host the same, or take its own with `farm sweep retry`"
        )
