"""A fit as the farm keeps it and as `farm law fit --json` prints it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis import laws
from analysis.laws.base import Law
from analysis.metrics import metrics
from analysis.table import DataError, Table


def report(fitted: Law, X: Any) -> dict[str, Any]:
    """``{"law", "n", "params", "params_std", "left_out", "metrics"}`` of a fit and the rows it was made from.

    DataError where it rests on no row: a prior predicts and plans, but nothing was fitted.
    """
    _require_rows(fitted)
    return {
        "law": fitted.name,
        "n": fitted.n_,
        "params": fitted.params_,
        "params_std": fitted.params_std_,
        "left_out": fitted.left_out_,
        "metrics": fit_metrics(fitted, Table.of(X)),
        "scope": fitted.scope,
        "data_sha256": fitted.data_sha256_,
    }


def fit_metrics(fitted: Law, table: Table) -> dict[str, float | None]:
    """Metrics on the rows that were fitted: how well the form can follow them, not how well it predicts."""
    rows = fitted.usable(table)
    return metrics(rows.energy_joules[rows.with_energy], fitted.predict(rows.table.take(rows.with_energy)))


def row(
    fitted: Law,
    table: Table,
    *,
    dataset: str,
    validation: dict[str, Any] | None = None,
    of_rows: dict[str, float | None] | None = None,
) -> dict[str, Any]:
    """The columns of farm.store.tables.Fit, less id and created_at. ``document`` is what Law.from_document takes;
    ``of_rows`` are the :func:`fit_metrics`, where they are known already.

    DataError where the fit rests on no row.
    """
    _require_rows(fitted)
    document = fitted.to_document()
    return {
        "law": fitted.name,
        "law_version": str(fitted.version),
        "code_version": document["code_version"],
        "dataset": dataset,
        "scope": fitted.scope,
        "n": fitted.n_,
        "data_hash": fitted.data_sha256_,
        "params": fitted.params_,
        "params_std": fitted.params_std_,
        "metrics": {"fit": of_rows or fit_metrics(fitted, table), "validation": validation},
        "document": document,
    }


def listing(fits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The laws there are and stored fits, as `farm law list --json` prints them."""
    return {"laws": list(laws.names()), "fits": [entry_of(row) for row in fits]}


def entry_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A stored fit, columns of farm.store.tables.Fit, as it is listed: without the document that predicts."""
    names = (
        "law", "law_version", "code_version", "dataset", "scope", "n", "data_hash", "params", "params_std", "metrics",
        "created_at",
    )  # fmt: skip
    use = {"pinned": row["pinned_at"] is not None, "kept": row["kept_at"] is not None, "kept_why": row["kept_why"]}
    return {"fit_id": row["id"], **{name: row[name] for name in names}, **use}


def _require_rows(fitted: Law) -> None:
    if not fitted.n_:
        reasons = [
            f"{entry['count']} left out: {entry['why']}" for entry in fitted.left_out_ if entry["what"] == "rows"
        ]
        counted = f"0 to fit ({'; '.join(reasons)})" if reasons else "0"
        raise DataError("rows", counted, f"at least {max(fitted.minimum_rows, 1)} that law {fitted.name} can use")
