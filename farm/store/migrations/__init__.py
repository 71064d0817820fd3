"""Alembic migrations, from the first version on. Shipped in the wheel and run through :func:`upgrade`."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

# Known here, so that opening an up-to-date database does not import Alembic. A test holds it against versions/.
REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010")
HEAD: Final = REVISIONS[-1]
_ONE_AT_A_TIME: Final = threading.Lock()  # Alembic keeps the connection of a run for its whole process


def upgrade(connection: Connection, revision: str = HEAD) -> None:
    """Run what is missing until a revision, inside the caller's transaction; one thread after the other."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    with _ONE_AT_A_TIME:
        command.upgrade(config, revision)
