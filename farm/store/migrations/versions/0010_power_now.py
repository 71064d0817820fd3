"""A worker says what its device draws and how warm it is, with every heartbeat."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

COLUMNS = ("power_watts", "temperature_celsius")


def upgrade() -> None:
    with op.batch_alter_table("worker", schema=None) as batch_op:
        for name in COLUMNS:
            batch_op.add_column(sa.Column(name, sa.Float(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("worker", schema=None) as batch_op:
        for name in COLUMNS:
            batch_op.drop_column(name)
