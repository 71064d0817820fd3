"""A configuration has frames: 1 for every image that was measured before there were videos.

What else came with it, ``includes_idle`` and ``power_limit_watts`` of a row, lies in the documents of measurements and
imported rows, which older ones do without.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("configuration") as batch_op:
        batch_op.add_column(sa.Column("frames", sa.Integer(), nullable=False, server_default="1"))


def downgrade() -> None:
    with op.batch_alter_table("configuration") as batch_op:
        batch_op.drop_column("frames")
