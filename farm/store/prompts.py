"""Prompt lists, by the hash of their text."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from farm.store import tables as t
from farm.store.clock import now
from farm.store.upsert import insert


def put(db: Connection, sha256: str, prompts: Sequence[str]) -> None:
    """Keep a list of prompts under its digest, unless it is there."""
    values = {"sha256": sha256, "prompts": list(prompts), "created_at": now()}
    db.execute(insert(db, t.prompt_list).values(**values).on_conflict_do_nothing())


def get(db: Connection, sha256: str) -> list[str] | None:
    """The prompts of that digest; None where there are none."""
    return db.execute(select(t.prompt_list.c.prompts).where(t.prompt_list.c.sha256 == sha256)).scalar()
