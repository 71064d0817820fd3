"""The laws: one module or package each, known by what it exports.

A module or package in this folder that exports ``LAW``, a subclass of :class:`analysis.laws.base.Law`, is a law under
the name of its file. One in another distribution is a law by an entry point of the group ``joulefarm.laws``, whose name
is the law's and whose value is a module that exports ``LAW``. Nothing else is to be registered.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Final

from farm.domain.errors import OperationError, RequestError

if TYPE_CHECKING:
    from analysis.laws.base import Law

logger = logging.getLogger(__name__)

DEFAULT: Final = "work"
GROUP: Final = "joulefarm.laws"  # of entry points
PARTS: Final = ("base", "estimator")  # modules of this folder that every law is made of; all others are laws


def names() -> tuple[str, ...]:
    """The laws there are, sorted. OperationError where a module of this folder is neither a law nor one of PARTS."""
    return tuple(sorted(_registered()))


def get(name: str) -> type[Law]:
    """The class of a law by its name. RequestError listing the names there are, OperationError as :func:`names`."""
    if name not in _registered():
        raise RequestError("law", name, f"one of {', '.join(names())}")
    return _registered()[name]


def name_of(law: type[Law]) -> str:
    """The name under which :func:`get` knows a class; for one that is not registered, that of its module."""
    known = {registered: name for name, registered in _registered().items()}
    return known.get(law, law.__module__.rpartition(".")[2])


@cache
def _registered() -> Mapping[str, type[Law]]:
    """Every law by its name. A law of another distribution that cannot be used is warned of and left out, so that the
    commands which do not ask for it go on."""
    registered = {name: _own(name) for name in _modules()}
    for point in entry_points(group=GROUP):
        try:
            if point.name in registered:
                raise TypeError("its name is taken")
            registered[point.name] = _exported(importlib.import_module(point.module))
        except Exception as error:  # whatever a stranger's module does when it is imported
            logger.warning("law %s of %s is left out: %s", point.name, _distribution(point), error)
    return registered


def _modules() -> list[str]:
    return sorted({module.name for module in pkgutil.iter_modules(__path__)} - set(PARTS))


def _own(name: str) -> type[Law]:
    try:
        return _exported(importlib.import_module(f"{__name__}.{name}"))
    except TypeError as error:
        raise OperationError(f"analysis/laws/{name} is no law: {error}") from None


def _exported(module: Any) -> type[Law]:
    """The LAW of a module. TypeError where it exports none."""
    from analysis.laws.base import Law

    law = getattr(module, "LAW", None)
    if not (isinstance(law, type) and issubclass(law, Law)):
        raise TypeError("it exports no LAW, a subclass of analysis.laws.base.Law")
    return law


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
