"""Points in time as documents state them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import overload


@overload
def utc(seconds: float) -> str: ...
@overload
def utc(seconds: None) -> None: ...
@overload
def utc(seconds: float | None) -> str | None: ...
def utc(seconds: float | None) -> str | None:
    """Seconds since 1970 in ISO 8601, such as 2026-01-31T18:00:00+00:00; None for a time that is not known."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
