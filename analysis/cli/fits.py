"""A fitted law for a command: the farm's stored fit where it covers exactly the rows there are, else fitted now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.cli.rows import fit_rows

if TYPE_CHECKING:
    from analysis.laws.base import Law


@dataclass(frozen=True, slots=True)
class Fitted:
    law: Law
    source: str  # of the rows, in words
    fit_id: int | None


def fitted_law(name: str, data: str | None, where: Sequence[str], db: str | None, only_own: bool = False) -> Fitted:
    """A law fitted to :func:`analysis.cli.rows.fit_rows`."""
    from analysis import laws

    law_class = laws.get(name)
    known = fit_rows(data, where, db, only_own)
    if known.stored:
        rows = law_class().usable(known.table)
        stored = find_fit(db, name, rows.table.digest(rows.energy_joules))
        if stored is not None:
            return Fitted(stored[1], known.source, stored[0])
    return Fitted(law_class().fit(known.table), known.source, None)


def find_fit(db: str | None, name: str, data_sha256: str) -> tuple[int, Law] | None:
    """The newest stored fit of a law to exactly these rows, by their digest, and of this version of the law."""
    from analysis import laws
    from analysis.laws.base import Law

    for row in stored_fits(db, law=name):
        if row["data_hash"] == data_sha256 and row["document"]["law_version"] == laws.get(name).version:
            return int(row["id"]), Law.from_json(json.dumps(row["document"]))
    return None


def stored_fits(db: str | None, *, law: str | None = None) -> list[dict[str, Any]]:
    """The fits of the farm's database, the newest first. Writes nothing."""
    from farm.database import opened
    from farm.fits import Fits

    with opened(db, create=False, default_may_be_missing=True) as store:
        return Fits(store).stored(law=law)


def store_fit(db: str | None, fit: dict[str, Any]) -> int:
    """Keep a fit, the columns of farm.store.tables.Fit; its id."""
    from farm.database import opened
    from farm.fits import Fits

    with opened(db) as store:
        return Fits(store).add(fit)
