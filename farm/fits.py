"""Stored fits of the laws: which are in use, and whose turn it is to make new ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from farm.domain.event import EventKind
from farm.store import events, refits
from farm.store.engine import Store


@dataclass(frozen=True, slots=True)
class Kept:
    """A fit of a law that predictions go on using; None: the newest may be used."""

    law: str
    fit_id: int | None
    why: str | None = None


class Fits:
    """The fits of a store. A fit is a mapping with the columns of farm.store.tables.Fit."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def stored(
        self, *, law: str | None = None, data_hash: str | None = None, documents: bool = True
    ) -> list[dict[str, Any]]:
        """All fits, or those of one law, or to the rows of one digest, the newest first; without their documents, which
        are long, where these are not asked for."""
        with self._store.read() as db:
            return refits.fits(db, law=law, data_hash=data_hash, documents=documents)

    def document(self, fit: Mapping[str, Any]) -> Any:
        """What a stored fit predicts with, as its law wrote it."""
        with self._store.read() as db:
            return refits.document(db, fit["id"])

    def get(self, fit_id: int) -> dict[str, Any] | None:
        """The fit of that id; None where there is none."""
        with self._store.read() as db:
            return refits.fit(db, fit_id)

    def pinned(self) -> dict[str, Any] | None:
        """The fit that predictions use by somebody's wish."""
        with self._store.read() as db:
            return refits.pinned(db)

    def kept(self, law: str) -> dict[str, Any] | None:
        """The fit of a law that stays in use, for a refit was worse."""
        with self._store.read() as db:
            return refits.kept(db, law)

    def mark(self) -> tuple[Any, ...]:
        """Another value when a fit was stored, pinned or kept."""
        with self._store.read() as db:
            return refits.mark(db)

    def rows_mark(self) -> tuple[int, int]:
        """Another value when rows came or went that a fit nobody asked for by name may use."""
        with self._store.read() as db:
            return refits.rows_mark(db)

    def newest(self, law: str, version: str) -> dict[str, Any] | None:
        """The pinned fit of a law, or the newest to everything that was measured; None where there is none."""
        with self._store.read() as db:
            return refits.newest_of_all(db, law, version)

    def pin(self, fit_id: int) -> None:
        """Have predictions use this fit until another is pinned, or none."""
        with self._store.write() as db:
            refits.pin(db, fit_id)

    def unpin(self) -> list[int]:
        """Have predictions use the newest rows again; the fits that were pinned or kept."""
        with self._store.write() as db:
            return refits.unpin(db)

    def add(self, fit: Mapping[str, Any]) -> int:
        """Store a fit; its id."""
        with self._store.write() as db:
            return refits.add_fit(db, fit)

    def take_lease(self, *, lease_seconds: float) -> tuple[int, int] | None:
        """(token, result count) where results are new and nobody else refits; None otherwise."""
        with self._store.write() as db:
            return refits.take_lease(db, lease_seconds=lease_seconds)

    def finish(
        self, token: int, *, covered: int, fits: Sequence[Mapping[str, Any]] = (), kept: Sequence[Kept] = ()
    ) -> bool:
        """Store the fits with the number of results that they cover, and which earlier ones stay in use; False, and
        nothing stored, when too late."""
        with self._store.write() as db:
            if not refits.finish(db, token, covered=covered):
                return False
            for fit in fits:
                refits.add_fit(db, fit)
            for each in kept:
                refits.keep(db, each.law, each.fit_id, each.why)
                if each.fit_id is not None:
                    text = f"law {each.law} is not refitted: fit {each.fit_id} stays in use: {each.why}"
                    told = {"law": each.law, "fit": each.fit_id, "why": each.why}
                    events.record(db, EventKind.FIT_WORSE, text, told, key=f"{each.law} {each.fit_id} {each.why}")
            return True

    def give_up(self, token: int) -> None:
        """End a refit that failed; the next may be tried at once."""
        with self._store.write() as db:
            refits.give_up(db, token)
