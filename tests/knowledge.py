"""A page's fitted law, made to see at once what it otherwise sees some seconds later."""

from __future__ import annotations

from farm.web.knowledge import Knowledge


def look(knowledge: Knowledge) -> None:
    """Have it see at the next request whether rows came, however lately that was done, and fit them then."""
    with knowledge._lock:
        knowledge._mark = None
        knowledge._rests_until.clear()
