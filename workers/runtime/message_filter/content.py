"""What a message says: the number of a job, or nothing."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping
from typing import Any, Final

from celery.worker import state

from farm.broker.app import MEASURE
from farm.domain.job import MAX_JOB_ID

logger = logging.getLogger(__name__)

LONGEST_BODY: Final = 4096  # bytes; the coordinator's are about 150
JSON: Final = "application/json"


def number_in(content_type: object, headers: object, body: bytes) -> int | None:
    """The job's number in a message of these parts; None where it names no job."""
    if content_type != JSON or not isinstance(headers, Mapping) or len(body) > LONGEST_BODY:
        return None
    if headers.get("task") != MEASURE or "compression" in headers:
        return None
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    match content:
        case [[number], kwargs, _] if type(number) is int and 0 < number <= MAX_JOB_ID and kwargs == {}:
            return number
    return None


def parts_of(number: int) -> tuple[dict[str, Any], str]:
    """Headers and body of a Celery message (protocol 2) that says a job's number and asks for nothing else."""
    name = str(uuid.uuid4())
    headers = {"lang": "py", "task": MEASURE, "id": name, "root_id": name, "argsrepr": f"({number},)"}
    return headers, json.dumps([[number], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])


def is_free() -> bool:
    """Whether this worker has no job, so that it may take a message; by what Celery knows of them."""
    # Also of those that came by a connection which was lost meanwhile.
    return not state.reserved_requests and not state.active_requests


def drop(queue: str) -> None:
    """Say that a message was dropped; nothing of it is repeated."""
    logger.warning("a message on %s that is no job's id was dropped", queue)
