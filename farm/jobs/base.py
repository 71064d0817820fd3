"""What both sides of the jobs share: the store, and the settings that say how long leases are."""

from __future__ import annotations

from typing import Self

from farm.settings import Settings
from farm.store.engine import Store


class Jobs:
    """The jobs of one database, with the settings that say how long leases are. Every call is one transaction."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings

    @classmethod
    def open(cls, settings: Settings, *, create: bool = True) -> Self:
        """The jobs of the settings' database; whoever opens them closes them. Raises as ``Store.open`` does."""
        return cls(Store.open(settings, create=create), settings)

    @property
    def database(self) -> str:
        """Which database this is, wherever it is reached."""
        assert self._store.identity is not None  # known once it is opened
        return self._store.identity

    def close(self) -> None:
        """Let go of the database."""
        self._store.close()
