"""Devices outlive their workers: taken off with a reason, checked each night; events wait until they are sent."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Sweeps that ended before there were events are not told of now.
ENDED = """
UPDATE sweep SET done_at = created_at WHERE NOT EXISTS (
    SELECT 1 FROM sweep_job JOIN job ON job.id = sweep_job.job_id
    WHERE sweep_job.sweep_id = sweep.id AND job.state IN ('queued', 'running')
)
"""


def upgrade() -> None:
    op.create_table(
        "device",
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("gpu", sa.String(), nullable=False),
        sa.Column("host", sa.String(), nullable=False),
        sa.Column("facts", sa.String(), nullable=False),
        sa.Column("off_kind", sa.String(), nullable=True),
        sa.Column("off_reason", sa.String(), nullable=True),
        sa.Column("off_since", sa.Float(), nullable=True),
        sa.Column("absent_since", sa.Float(), nullable=True),
        sa.Column("spool_since", sa.Float(), nullable=True),
        sa.Column("suspect_since", sa.Float(), nullable=True),
        sa.Column("baseline_from", sa.Float(), nullable=False, server_default="0"),
        sa.PrimaryKeyConstraint("uuid"),
    )
    op.create_index("ix_device_worker", "device", ["worker"])
    op.create_table(
        "health_check",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("device_uuid", sa.String(), nullable=False),
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("gpu", sa.String(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=True),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("facts", sa.String(), nullable=False),
        sa.Column("asked_at", sa.Float(), nullable=False),
        sa.Column("checked_at", sa.Float(), nullable=True),
        sa.Column("verdict", sa.String(), nullable=True),
        sa.Column("energy_joules", sa.Float(), nullable=True),
        sa.Column("deviation_percent", sa.Float(), nullable=True),
        sa.Column("limit_percent", sa.Float(), nullable=True),
        sa.Column("why", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_health_check_device_uuid", "health_check", ["device_uuid"])
    op.create_table(
        "event",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("sent_at", sa.Float(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.Float(), nullable=False),
        sa.Column("delivered", sa.JSON(), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_event_kind", "event", ["kind"])
    op.create_index("ix_event_sent_at", "event", ["sent_at"])
    with op.batch_alter_table("worker", schema=None) as batch_op:
        batch_op.add_column(sa.Column("facts", sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.add_column(sa.Column("only_device", sa.String(), nullable=True))
        batch_op.create_index("ix_job_only_device", ["only_device"])
    # A plain default: an expression has SQLite make the table anew, and what refers to its rows would go with them.
    with op.batch_alter_table("measurement", schema=None) as batch_op:
        batch_op.add_column(sa.Column("health", sa.Boolean(), nullable=False, server_default="0"))
    with op.batch_alter_table("sweep", schema=None) as batch_op:
        batch_op.add_column(sa.Column("done_at", sa.Float(), nullable=True))
    op.execute(ENDED)


def downgrade() -> None:
    with op.batch_alter_table("sweep", schema=None) as batch_op:
        batch_op.drop_column("done_at")
    with op.batch_alter_table("measurement", schema=None) as batch_op:
        batch_op.drop_column("health")
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.drop_index("ix_job_only_device")
        batch_op.drop_column("only_device")
    with op.batch_alter_table("worker", schema=None) as batch_op:
        batch_op.drop_column("facts")
    for table in ("event", "health_check", "device"):
        op.drop_table(table)
