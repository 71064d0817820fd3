"""A fitted law for a command: the pinned one, the farm's stored fit to exactly the rows there are, or one made now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.cli.rows import Known, fit_rows
from analysis.cli.stored import farm_store
from farm.domain.errors import RequestError

if TYPE_CHECKING:
    from analysis.laws.base import Law
    from farm.database import Store
    from farm.fits import Fits


@dataclass(frozen=True, slots=True)
class Fitted:
    law: Law
    source: str  # of the rows, in words
    fit_id: int | None


def fitted_law(
    name: str | None,
    data: str | None,
    where: Sequence[str],
    db: str | None,
    only_own: bool = False,
    fit_id: int | None = None,
) -> Fitted:
    """A law for predictions.

    The stored fit of ``fit_id``; else, where nobody chooses rows, the one that is pinned, or that stays in use since a
    refit was worse; else the law fitted to :func:`analysis.cli.rows.fit_rows`. Without a name it is the law of the fit
    that is pinned, or the default.

    Raises:
        RequestError: an unknown fit, one of another law, or of another version of its law; ``fit_id`` beside a choice
            of rows.
    """
    chooses_rows = data is not None or bool(where) or only_own
    if fit_id is not None:
        if chooses_rows:
            raise RequestError(
                "fit", fit_id, "alone: a stored fit has its rows, without --data, --where and --only-own"
            )
        return _stored(named_fit(db, fit_id), name)
    if not chooses_rows:
        bound = fit_in_use(db, name)
        if bound is not None:
            return bound
    known = fit_rows(data, where, db, only_own)
    return stored_fit(known, name, db) or fit_now(known, name)


def stored_fit(known: Known, name: str | None, db: str | None) -> Fitted | None:
    """The farm's stored fit to exactly these rows; None where there is none."""
    from analysis import laws

    if not known.stored:
        return None
    rows = laws.get(name or laws.DEFAULT)().usable(known.table)
    stored = find_fit(db, name or laws.DEFAULT, rows.table.digest(rows.energy_joules))
    return None if stored is None else Fitted(stored[1], known.source, stored[0])


def fit_now(known: Known, name: str | None) -> Fitted:
    """The law of that name, or the default, fitted to these rows."""
    from analysis import laws
    from analysis.fitted import fit_once

    return Fitted(fit_once(name or laws.DEFAULT, known.table), known.source, None)


def named_fit(db: str | None, fit_id: int) -> dict[str, Any]:
    """The stored fit of that id. RequestError where there is none."""
    with farm_store(db) as store:
        row = None if store is None or not 0 < fit_id < 2**31 else _fits(store).get(fit_id)
    if row is None:
        raise RequestError("fit", fit_id, "the id of a stored fit; farm law list shows them")
    return row


def loaded(row: Mapping[str, Any]) -> Law:
    """The law of a stored fit, which predicts what it did when it was fitted. RequestError for one of another version
    of its law's form, whose numbers mean something else."""
    from analysis.laws.base import Law

    return Law.from_document(row["document"])


def _stored(row: Mapping[str, Any], name: str | None) -> Fitted:
    if name is not None and name != row["law"]:
        raise RequestError("law", name, f"{row['law']}, the law of fit {row['id']}, or none named")
    return Fitted(loaded(row), f"fit {row['id']} of the farm's database", int(row["id"]))


def fit_in_use(db: str | None, name: str | None) -> Fitted | None:
    """The fit that is pinned, or that stays in use, where it is of that law; None where there is none."""
    from analysis import laws

    with farm_store(db) as store:
        if store is None:
            return None
        pinned = _fits(store).pinned()
        if pinned is not None and name in (None, pinned["law"]):
            return Fitted(loaded(pinned), f"fit {pinned['id']}, pinned by farm law pin", int(pinned["id"]))
        kept = _fits(store).kept(name or laws.DEFAULT)
    if kept is None or kept["law_version"] != str(laws.get(kept["law"]).version):
        return None
    source = f"fit {kept['id']}, which stays in use: {kept['kept_why']}"
    return Fitted(loaded(kept), source, int(kept["id"]))


def find_fit(db: str | None, name: str, data_sha256: str) -> tuple[int, Law] | None:
    """The newest stored fit of a law to exactly these rows, by their digest, and of this version of the law."""
    from analysis import laws

    for row in stored_fits(db, law=name, data_hash=data_sha256):
        if row["document"]["law_version"] == laws.get(name).version:
            return int(row["id"]), loaded(row)
    return None


def stored_fits(db: str | None, *, law: str | None = None, data_hash: str | None = None) -> list[dict[str, Any]]:
    """The fits of the farm's database, the newest first. Writes nothing."""
    with farm_store(db) as store:
        return [] if store is None else _fits(store).stored(law=law, data_hash=data_hash)


def store_fit(db: str | None, fit: dict[str, Any]) -> int:
    """Keep a fit, the columns of farm.store.tables.Fit; its id."""
    from farm.database import opened
    from farm.fits import Fits

    with opened(db) as store:
        return Fits(store).add(fit)


def pin_fit(db: str | None, fit_id: int) -> dict[str, Any]:
    """Have predictions use a stored fit; it. RequestError where there is none of that id, or it cannot be used."""
    from farm.database import opened
    from farm.fits import Fits

    row = named_fit(db, fit_id)
    loaded(row)
    with opened(db, create=False) as store:
        Fits(store).pin(fit_id)
    return row


def unpin_fits(db: str | None) -> list[int]:
    """Have predictions use the newest rows again; the ids of the fits that were pinned or stayed in use."""
    with farm_store(db) as store:
        if store is None:
            return []
        fits = _fits(store)
        bound = [row["id"] for row in fits.stored() if row["pinned_at"] or row["kept_at"]]
        return fits.unpin() if bound else []


def _fits(store: Store) -> Fits:
    from farm.fits import Fits

    return Fits(store)
