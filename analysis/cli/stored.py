"""The farm's database as the commands that compute see it: read, never made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farm.database import Store


@contextmanager
def farm_store(db: str | None) -> Iterator[Store | None]:
    """The database of ``db``, else of the settings; None where nobody named one and none was made yet.

    Whether there is one is asked first: to import what opens a database takes longer than to predict.
    """
    from farm.settings import load

    if db is None and not load().has_database:
        yield None
        return
    from farm.database import opened

    with opened(db, create=False) as store:
        yield store
