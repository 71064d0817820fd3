"""Fit every law again when results came, and store the fits: what the coordinator starts from time to time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from operator import itemgetter
from typing import Any, Final

import numpy as np

from analysis import fit_errors, laws, records, validation
from analysis.laws.base import Law
from analysis.laws.rows import scope_of
from analysis.shipped import with_shipped
from analysis.table import Table
from farm.database import opened
from farm.domain.errors import RequestError
from farm.fits import Fits, Kept
from farm.results import Results
from farm.settings import Settings

logger = logging.getLogger(__name__)

LEASE_SECONDS: Final = 600.0  # a refit that takes longer may be taken over
_DOCUMENT: Final = itemgetter("document")
ALL: Final = "all"  # data set of a fit to everything of one origin
VALIDATED_ROWS: Final = 2000  # at most: errors on as many are known to a few per cent of what they are
ENOUGH_ROWS: Final = 8  # of one model on one GPU, for a fit of their own


def refit_if_new(settings: Settings) -> bool:
    """Fit and store, if there are results that no refit covered and nobody else is at it; whether it was done."""
    with opened(settings=settings, create=False) as store:
        stored = Fits(store)
        lease = stored.take_lease(lease_seconds=LEASE_SECONDS)
        if lease is None:
            return False
        token, covered = lease
        try:
            before = stored.stored(documents=False)
            fits = refit(Table.from_rows(Results(store).rows()), before, stored.document)
            kept = list(kept_fits(fits, before))
        except BaseException:
            stored.give_up(token)
            raise
        done = stored.finish(token, covered=covered, fits=fits, kept=kept)
        logger.info("%s fits to %s results%s", len(fits), covered, "" if done else ", too late: another took over")
        return done


def kept_fits(fits: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]) -> Iterator[Kept]:
    """Name the earlier fits that stay in use: of every law that predictions would take from a new fit, where the new
    one errs more on what was held out than noise explains. It may rest on bad rows.

    Args:
        fits: new ones, as of :func:`refit`.
        before: stored fits, the newest first.
    """
    for fresh in filter(_is_for_predictions, fits):
        alike = [row for row in before if (row["law"], row["law_version"]) == (fresh["law"], fresh["law_version"])]
        bound = [row for row in alike if row["pinned_at"] or row["kept_at"]]
        last = next(iter([*bound, *filter(_is_for_predictions, alike)]), None)
        worse = None if last is None else fit_errors.worse(fresh["metrics"], last["metrics"])
        if last is None or worse is None:
            yield Kept(fresh["law"], None)
            continue
        why = f"the refit to {fresh['n']} rows errs more on what was held out: {worse}"
        logger.warning("law %s: fit %s, to %s rows, stays in use: %s", fresh["law"], last["id"], last["n"], why)
        yield Kept(fresh["law"], last["id"], why)


def _is_for_predictions(fit: Mapping[str, Any]) -> bool:
    """Whether it is of the rows that predictions rest on where nobody chooses."""
    return bool(fit["dataset"] == ALL and fit["scope"]["origin"] == "measured")


@dataclass(frozen=True, slots=True)
class Scope:
    """Rows that are fitted together."""

    dataset: str  # "farm" for its own measurements, "all" for everything of one origin, with the rows that ship
    table: Table
    held_out: tuple[str, ...]  # models that validation holds out, each in turn: the farm's own, where there are several


def scopes(table: Table) -> Iterator[Scope]:
    """Each model on each GPU of a data set with rows enough; each data set; everything of one origin.

    The widest comes last, so that its fit is the newest.
    """
    for origin in np.unique(table.origin).tolist():
        of_origin = table.where(origin=origin)
        datasets = of_origin.names("dataset")
        for dataset in datasets:
            rows = of_origin.where(dataset=dataset)
            for model, gpu in product(rows.names("model"), rows.names("gpu")):
                of_pair = rows.where(model=model, gpu=gpu)
                if ENOUGH_ROWS <= len(of_pair) < len(rows):
                    yield Scope(dataset, of_pair, held_out=())
            yield Scope(dataset, rows, held_out=rows.names("model"))
        if origin == "measured":
            yield Scope(ALL, with_shipped(of_origin), held_out=of_origin.names("model"))
        elif len(datasets) > 1:
            yield Scope(ALL, of_origin, held_out=of_origin.names("model"))


def refit(
    table: Table, before: Sequence[Mapping[str, Any]], document: Callable[[Mapping[str, Any]], Any] = _DOCUMENT
) -> list[dict[str, Any]]:
    """The fits, as columns of farm.store.tables.Fit, that are not among those stored already.

    Args:
        table: every row of the farm.
        before: stored fits, the newest first.
        document: what gives the document of one of them: few are needed, and all of them are long.
    """
    fits = []
    for scope in scopes(table):
        for name in laws.names():
            try:
                row = _fit(name, scope, before, document)
            except RequestError as refusal:
                pairs = ", ".join(scope_of(scope.table)["cells"])
                logger.info("law %s is not fitted to data set %s, %s: %s", name, scope.dataset, pairs, refusal)
            else:
                fits += [row] if row else []
    return fits


def _fit(
    name: str, scope: Scope, before: Sequence[Mapping[str, Any]], document: Callable[[Mapping[str, Any]], Any]
) -> dict[str, Any] | None:
    """The row of a fit; None where a stored one of this version covers exactly these rows."""
    law_class = laws.get(name)
    rows = law_class().usable(scope.table)
    digest = rows.table.digest(rows.energy_joules)
    pairs = set(scope_of(rows.table)["cells"])
    previous = None
    for stored in before:
        if (stored["law"], stored["law_version"], stored["dataset"]) != (name, str(law_class.version), scope.dataset):
            continue
        if stored["data_hash"] == digest:
            return None
        if previous is None and set(stored["scope"]["cells"]) <= pairs:
            previous = stored
    fitted = law_class().fit(scope.table) if previous is None else _updated(document(previous), law_class, scope.table)
    return records.row(fitted, scope.table, dataset=scope.dataset, validation=_validated(law_class, rows.table, scope))


def _updated(document: Any, law_class: type[Law], table: Table) -> Law:
    """Fit from where a stored fit ended; from the beginning where it cannot be read."""
    try:
        start = Law.from_document(document)
    except RequestError as error:
        logger.warning("a stored fit of law %s is not read, and fitted from the beginning: %s", law_class.name, error)
        return law_class().fit(table)
    return start.updated(table)


def drawn(table: Table, most: int) -> Table:
    """At most so many rows, in their order: as many of each model on each GPU of a data set as of any other, as far as
    there are, drawn by a fixed seed."""
    if len(table) <= most:
        return table
    order = np.random.default_rng(0).permutation(len(table))
    _, group = table.take(order).groups("dataset", "model", "gpu")
    by_group = np.argsort(group, kind="stable")
    count = np.bincount(group)
    rank = np.arange(len(table)) - (np.cumsum(count) - count)[group[by_group]]  # of each among those of its group
    picked = order[by_group[np.argsort(rank, kind="stable")[:most]]]
    return table.take(np.sort(picked))


def _validated(law_class: type[Law], rows: Table, scope: Scope) -> dict[str, Any]:
    """Summaries by split of the rows that the law can use, or of VALIDATED_ROWS of them: folds and, among several
    models, each held out. A split that the law refuses has the reason instead."""
    table = drawn(rows, VALIDATED_ROWS)
    splits: dict[str, Callable[[], validation.Validation]] = {
        f"{validation.FOLDS} folds": lambda: validation.within(law_class(), table, validation.FOLDS)
    }
    models = table.names("model")
    if len(models) > 1:
        for model in scope.held_out:
            others = [name for name in models if name != model]
            splits[f"{model} held out"] = partial(validation.held_out, law_class(), table, train=others, test=[model])
    outcome: dict[str, Any] = {}
    for name, split in splits.items():
        try:
            done = split()
            outcome[name] = {**done.summary(), fit_errors.BY_PAIR: fit_errors.by_pair(done)}
        except RequestError as refusal:
            outcome[name] = {"refused": str(refusal)}
    return outcome
