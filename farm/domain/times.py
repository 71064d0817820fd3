"""Times as documents state them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any


def utc(seconds: float | None) -> str | None:
    """A time of the database in ISO 8601, UTC."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


# Keys of documents whose numbers are times of the database.
_TIMES = frozenset(
    ("started_at", "ended_at", "seen_at", "created_at", "finished_at", "sent_at", "not_before", "lease_until",
     "recorded_at")
)  # fmt: skip


def stated(document: Any) -> Any:
    """A document with its times in ISO 8601, wherever they stand in it; 0, which is no time, becomes null."""
    if isinstance(document, list):
        return [stated(item) for item in document]
    if not isinstance(document, dict):
        return document
    return {
        key: utc(value or None) if key in _TIMES and isinstance(value, (int, float)) else stated(value)
        for key, value in document.items()
    }
