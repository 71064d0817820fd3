"""What a worker may do to jobs, and what the coordinator may: a class for each, their only doors to the database.

``WorkerJobs`` needs no more than a worker's role of PostgreSQL is granted (``farm.store.roles``), so a worker that is
taken over can do no more than its methods do. ``CoordinatorJobs`` is for the owner of the tables.
"""

from farm.jobs.coordinator import CoordinatorJobs
from farm.jobs.worker import WorkerJobs

__all__ = ["CoordinatorJobs", "WorkerJobs"]
