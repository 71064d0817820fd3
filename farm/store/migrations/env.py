"""What Alembic runs: the migrations, on the connection that it was handed."""

from alembic import context
from sqlmodel import SQLModel

import farm.store.tables  # noqa: F401 - fills the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,  # SQLite changes a column by rebuilding its table
)
context.run_migrations()
