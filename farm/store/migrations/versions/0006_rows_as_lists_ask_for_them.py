"""Every measured row also in narrow columns, for lists; attempts are found by when they began."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BATCH = 500
CONFIGURATION = ("model", "gpu", "width", "height", "steps", "precision", "prompts")
DEFAULTS = {"batch": 1, "weights": "random", "size": "full", "seed": 0, "frames": 1}
SPOILING = {
    "counter_reset", "counter_frozen", "counter_power_disagree", "gpu_lost", "throttled_thermal", "throttled_brake",
    "foreign_process", "mig_enabled", "idle_drift", "window_too_short", "wrong_device", "nonfinite_output",
}  # fmt: skip


def upgrade() -> None:
    table = op.create_table(
        "measured_row",
        sa.Column("dataset", sa.String(), nullable=False),
        sa.Column("measurement_id", sa.String(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=True),
        sa.Column("dataset_row_id", sa.Integer(), nullable=True),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("gpu", sa.String(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("width", "height", "steps")),
        sa.Column("precision", sa.String(), nullable=False),
        sa.Column("cfg", sa.Boolean(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("prompts", "batch")),
        sa.Column("weights", sa.String(), nullable=False),
        sa.Column("size", sa.String(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("energy_joules", sa.Float(), nullable=True),
        sa.Column("energy_joules_per_image", sa.Float(), nullable=True),
        sa.Column("energy_std_joules", sa.Float(), nullable=True),
        sa.Column("duration_seconds", sa.Float(), nullable=True),
        sa.Column("includes_idle", sa.Boolean(), nullable=False),
        sa.Column("flags", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("spoiled", sa.Boolean(), nullable=False),
        sa.Column("measured_at", sa.String(), nullable=False),
        sa.Column("added_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["measurement.job_id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["dataset_row_id"], ["dataset_row.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("dataset", "measurement_id"),
        sa.UniqueConstraint("job_id"),
        sa.UniqueConstraint("dataset_row_id"),
    )
    for rows in _batches("measurement", "job_id", "recorded_at"):
        op.bulk_insert(table, [{**_narrow(row), "dataset": "farm", "job_id": row["job_id"]} for row in rows])
    for rows in _batches("dataset_row", "id", "imported_at", "dataset"):
        lines = [{**_narrow(row), "dataset": row["dataset"], "dataset_row_id": row["id"]} for row in rows]
        op.bulk_insert(table, lines)
    op.create_index("measured_row_added", "measured_row", ["added_at"])
    op.create_index("measured_row_energy", "measured_row", ["energy_joules_per_image"])
    op.create_index("measured_row_configuration", "measured_row", ["model", "gpu"])
    op.create_index("attempt_started", "attempt", ["started_at"])


def _batches(name: str, key: str, added_at: str, *more: str) -> Iterator[list[dict[str, Any]]]:
    """The rows of a table in the order of their key, some at a time."""
    columns: list[Any] = [sa.column(column) for column in (key, "measurement_id", *more)]
    columns += [sa.column("document", sa.JSON()), sa.column(added_at).label("added_at")]
    last = -1
    while True:
        query = sa.select(*columns).select_from(sa.table(name)).where(sa.column(key) > last)
        query = query.order_by(sa.column(key)).limit(BATCH)
        rows = [dict(row) for row in op.get_bind().execute(query).mappings()]
        if not rows:
            return
        yield rows
        last = rows[-1][key]


def _narrow(row: dict[str, Any]) -> dict[str, Any]:
    document = row["document"]
    flags = document.get("flags") or []
    flags = flags.split() if isinstance(flags, str) else flags
    energy = document.get("energy_joules")
    origin = next((name for name in ("simulated", "estimated") if name in flags), "measured")
    return {
        "measurement_id": row["measurement_id"],
        "job_id": None,
        "dataset_row_id": None,
        **{name: document[name] for name in CONFIGURATION},
        **{name: default if document.get(name) is None else document[name] for name, default in DEFAULTS.items()},
        "cfg": bool(document["cfg"]),
        "energy_joules": energy,
        "energy_joules_per_image": None if energy is None else energy / document["prompts"],
        "energy_std_joules": document.get("energy_std_joules"),
        "duration_seconds": document.get("duration_seconds"),
        "includes_idle": bool(document.get("includes_idle")),
        "flags": f" {' '.join(flags)} " if flags else "",
        "origin": origin,
        "spoiled": energy is None or not SPOILING.isdisjoint(flags),
        "measured_at": document.get("measured_at") or "",
        "added_at": row["added_at"],
    }


def downgrade() -> None:
    op.drop_index("attempt_started", table_name="attempt")
    op.drop_table("measured_row")
