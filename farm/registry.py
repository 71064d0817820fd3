"""What is known by what modules export: those of a folder of this distribution, and those that entry points name."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Callable, Collection, Iterable
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import TypeVar

from farm.domain.errors import OperationError

T = TypeVar("T")

logger = logging.getLogger(__name__)


def collect(
    noun: str,
    *,
    package: str,
    folders: Iterable[str],
    parts: Collection[str],
    load: Callable[[str], ModuleType],
    exported: Callable[[ModuleType], T],
    group: str,
) -> dict[str, T]:
    """Collect everything that is registered, by name: that of its module, or of its entry point.

    One of another distribution that cannot be used is warned of and left out, so that commands which do not ask for it
    go on.

    Args:
        noun: what it is, for messages: law, meter.
        package: dotted name of the package whose modules register themselves.
        folders: the package's ``__path__``.
        parts: modules of the package that are no entries but what all entries share.
        load: imports a module of the package by its name there.
        exported: what a module exports; TypeError, saying what it should, where it does not.
        group: of entry points.

    Raises:
        OperationError: a module of the package exports nothing.
    """
    entries = {}
    for name in sorted({module.name for module in pkgutil.iter_modules(folders)} - set(parts)):
        try:
            entries[name] = exported(load(name))
        except TypeError as error:
            raise OperationError(f"{package.replace('.', '/')}/{name} is no {noun}: {error}") from None
    for point in entry_points(group=group):
        try:
            if point.name in entries:
                raise TypeError("its name is taken")
            entries[point.name] = exported(importlib.import_module(point.module))
        except Exception as error:  # whatever a stranger's module does when it is imported
            logger.warning("%s %s of %s is left out: %s", noun, point.name, _distribution(point), error)
    return entries


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
