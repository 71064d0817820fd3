"""Configurations as their table has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import RowMapping

from farm.domain import Configuration
from farm.store import tables as t

NAMES: Final = tuple(Configuration.__dataclass_fields__)
COLUMNS: Final = tuple(t.configuration.c[name] for name in NAMES)


def of_row(row: Mapping[str, Any] | RowMapping) -> Configuration:
    """The configuration of a row that has COLUMNS. RequestError where the domain knows no such one."""
    return Configuration(**{name: row[name] for name in NAMES})
