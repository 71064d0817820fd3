"""Stored fits of the laws, and whose turn it is to make new ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from farm.store import refits
from farm.store.engine import Store


class Fits:
    """The fits of a store. A fit is a mapping with the columns of farm.store.tables.Fit."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def stored(self, *, law: str | None = None) -> list[dict[str, Any]]:
        """All fits, or those of one law, the newest first."""
        with self._store.read() as db:
            return refits.fits(db, law=law)

    def add(self, fit: Mapping[str, Any]) -> int:
        """Store a fit; its id."""
        with self._store.write() as db:
            return refits.add_fit(db, fit)

    def take_lease(self, *, lease_seconds: float) -> tuple[int, int] | None:
        """(token, result count) where results are new and nobody else refits; None otherwise."""
        with self._store.write() as db:
            return refits.take_lease(db, lease_seconds=lease_seconds)

    def finish(self, token: int, *, covered: int, fits: Sequence[Mapping[str, Any]] = ()) -> bool:
        """Store the fits with the number of results that they cover; False, and nothing stored, when too late."""
        with self._store.write() as db:
            if not refits.finish(db, token, covered=covered):
                return False
            for fit in fits:
                refits.add_fit(db, fit)
            return True

    def give_up(self, token: int) -> None:
        """End a refit that failed; the next may be tried at once."""
        with self._store.write() as db:
            refits.give_up(db, token)
