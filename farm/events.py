"""Events as people see them: what happened, and whether it reached them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from farm.domain.times import utc
from farm.store import events
from farm.store.engine import Store


def listing(store: Store, limit: int) -> list[dict[str, Any]]:
    """The newest events, as `farm events list --json` prints them."""
    with store.read() as db:
        return [_document(row) for row in events.newest(db, limit)]


def _document(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "kind": row["kind"],
        "text": row["text"],
        "at": utc(row["created_at"]),
        "sent_at": utc(row["sent_at"]),
        "tries": row["tries"],
        "error": row["error"],
        "document": row["document"],
    }
