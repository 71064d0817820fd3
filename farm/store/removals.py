"""Measured rows taken out by somebody: no fit, list or export knows them any more; their ids and the reason stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, literal, select

from farm.domain.row import OWN
from farm.store import actions
from farm.store import tables as t

BATCH = 1000  # ids in one statement: a database takes some ten thousand values
COLUMNS = ("measurement_id", "dataset", "model", "gpu", "job_id", "document", "reason", "action_id")


def remove_dataset(db: Connection, dataset: str, *, reason: str, who: str) -> int:
    """Take out every row of a data set; how many."""
    action = actions.note(db, who, "remove", dataset=dataset, reason=reason)
    if dataset == OWN:
        return _remove_own(db, t.measurement.c.job_id.is_not(None), reason, action)
    return _remove_imported(db, t.dataset_row.c.dataset == dataset, reason, action)


def remove_ids(db: Connection, ids: Sequence[str], *, reason: str, who: str) -> int:
    """Take out the rows of these measurement ids, in every data set that has them; how many."""
    action = actions.note(db, who, "remove", ids=list(ids), reason=reason)
    removed = 0
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        removed += _remove_own(db, t.measurement.c.measurement_id.in_(batch), reason, action)
        removed += _remove_imported(db, t.dataset_row.c.measurement_id.in_(batch), reason, action)
    return removed


def known(db: Connection, ids: Sequence[str]) -> set[str]:
    """Those of the ids that a measurement or an imported row has."""
    there: set[str] = set()
    for start in range(0, len(ids), BATCH):
        for column in (t.measurement.c.measurement_id, t.dataset_row.c.measurement_id):
            there |= set(db.execute(select(column).where(column.in_(ids[start : start + BATCH]))).scalars())
    return there


def removed(db: Connection, *, job_id: int | None = None) -> list[dict[str, Any]]:
    """Every row that was taken out, or those of a job, the last first: its id, why, who and when."""
    row, action = t.removed_row.c, t.action.c
    named = [row[name] for name in COLUMNS if name not in ("document", "action_id")]
    query = select(*named, action.at, action.who, action.role).join(t.action, action.id == row.action_id)
    if job_id is not None:
        query = query.where(row.job_id == job_id)
    return [dict(removal) for removal in db.execute(query.order_by(row.id.desc())).mappings()]


def _remove_own(db: Connection, where: ColumnElement[bool], reason: str, action_id: int) -> int:
    """The farm's own stay whole among what was not accepted, so that a result sent once more is known there."""
    m, late = t.measurement.c, ("measurement_id", "job_id", "attempt", "worker", "document", "recorded_at")
    kept = select(*(m[name] for name in late)).where(where)
    db.execute(insert(t.late_measurement).from_select(late, kept))
    joined = t.measurement.join(t.configuration, t.configuration.c.id == m.configuration_id)
    columns = (m.measurement_id, literal(OWN), t.configuration.c.model, t.configuration.c.gpu, m.job_id)
    noted = select(*columns, literal(None, t.removed_row.c.document.type), literal(reason), literal(action_id))
    db.execute(insert(t.removed_row).from_select(COLUMNS, noted.select_from(joined).where(where)))
    return db.execute(t.measurement.delete().where(where)).rowcount


def _remove_imported(db: Connection, where: ColumnElement[bool], reason: str, action_id: int) -> int:
    row = t.dataset_row.c
    columns = (row.measurement_id, row.dataset, row.model, row.gpu, literal(None, t.removed_row.c.job_id.type))
    noted = select(*columns, row.document, literal(reason), literal(action_id)).where(where)
    db.execute(insert(t.removed_row).from_select(COLUMNS, noted))
    return db.execute(t.dataset_row.delete().where(where)).rowcount
