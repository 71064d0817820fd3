"""An adaptive sweep keeps what was foreseen of the configurations that it chose."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("adaptive_sweep", schema=None) as batch_op:
        batch_op.add_column(sa.Column("foreseen", sa.JSON(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("adaptive_sweep", schema=None) as batch_op:
        batch_op.drop_column("foreseen")
