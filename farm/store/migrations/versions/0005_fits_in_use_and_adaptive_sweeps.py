"""Which fit predictions use, and sweeps that measure no more than the law needs."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("fit", schema=None) as batch_op:
        batch_op.add_column(sa.Column("pinned_at", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("kept_at", sa.Float(), nullable=True))
        batch_op.add_column(sa.Column("kept_why", sa.String(), nullable=True))
    op.create_table(
        "adaptive_sweep",
        sa.Column("sweep_id", sa.Integer(), sa.ForeignKey("sweep.id"), primary_key=True),
        sa.Column("target_error_percent", sa.Float(), nullable=False),
        sa.Column("budget_joules", sa.Float(), nullable=True),
        sa.Column("budget_seconds", sa.Float(), nullable=True),
        sa.Column("prompts_sha256", sa.String(), nullable=False),
        sa.Column("expected_error_percent", sa.Float(), nullable=True),
        sa.Column("looked_at", sa.String(), nullable=True),
        sa.Column("rounds", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.Float(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("ended_at", sa.Float(), nullable=True),
        sa.Column("end_reason", sa.String(), nullable=True),
    )


def downgrade() -> None:
    op.drop_table("adaptive_sweep")
    with op.batch_alter_table("fit", schema=None) as batch_op:
        batch_op.drop_column("kept_why")
        batch_op.drop_column("kept_at")
        batch_op.drop_column("pinned_at")
