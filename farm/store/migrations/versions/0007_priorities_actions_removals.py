"""Sweeps have priorities, jobs a forecast; what people do is noted; rows can be removed."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("sweep", schema=None) as batch_op:
        batch_op.add_column(sa.Column("priority", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.add_column(sa.Column("rank", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("forecast_seconds", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("forecast_joules", sa.Float(), nullable=True))
    op.drop_index("job_due", table_name="job")
    _index(["queue", "rank", "id"], "state = 'queued' AND NOT held")
    op.create_table(
        "action",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=True),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("sweep_id", sa.Integer(), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["sweep_id"], ["sweep.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_action_sweep_id"), "action", ["sweep_id"])
    op.create_table(
        "removed_row",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("measurement_id", sa.String(), nullable=False),
        sa.Column("dataset", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("gpu", sa.String(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=True),
        sa.Column("document", sa.JSON(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("action_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["action_id"], ["action.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_removed_row_measurement_id"), "removed_row", ["measurement_id"])
    op.create_index(op.f("ix_removed_row_dataset"), "removed_row", ["dataset"])


def downgrade() -> None:
    op.drop_table("removed_row")
    op.drop_table("action")
    op.drop_index("job_due", table_name="job")
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.drop_column("forecast_joules")
        batch_op.drop_column("forecast_seconds")
        batch_op.drop_column("rank")
    _index(["queue", "id"], "state = 'queued' AND sent_at IS NULL AND NOT held")
    with op.batch_alter_table("sweep", schema=None) as batch_op:
        batch_op.drop_column("priority")


def _index(columns: list[str], where: str) -> None:
    op.create_index("job_due", "job", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
