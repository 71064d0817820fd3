"""The laws: one module or package each, known by what it exports.

A module or package in this folder that exports ``LAW``, a subclass of :class:`analysis.laws.base.Law`, is a law under
the name of its file. One in another distribution is a law by an entry point of the group ``joulefarm.laws``, whose name
is the law's and whose value is a module that exports ``LAW``. Nothing else is to be registered.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Final

from farm.domain.errors import RequestError
from farm.registry import collect

if TYPE_CHECKING:
    from analysis.laws.base import Law

DEFAULT: Final = "work"
GROUP: Final = "joulefarm.laws"  # of entry points
PARTS: Final = (
    "base",
    "estimator",
    "rows",
    "student",
)  # modules of this folder that every law is made of; all others are laws


def names() -> tuple[str, ...]:
    """Name the laws there are, sorted. OperationError where a module of this folder is no law and none of PARTS."""
    return tuple(sorted(_registered()))


def get(name: str) -> type[Law]:
    """Return the class of a law. RequestError listing the names there are, OperationError as :func:`names`."""
    if name not in _registered():
        raise RequestError("law", name, f"one of {', '.join(names())}")
    return _registered()[name]


def name_of(law: type[Law]) -> str:
    """Return the name under which :func:`get` knows a class; for one that is not registered, that of its module."""
    known = {registered: name for name, registered in _registered().items()}
    return known.get(law, law.__module__.rpartition(".")[2])


@cache
def _registered() -> Mapping[str, type[Law]]:
    """Collect every law by its name."""
    return collect("law", package=__name__, folders=__path__, parts=PARTS, load=_load, exported=_exported, group=GROUP)


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def _exported(module: ModuleType) -> type[Law]:
    """The LAW of a module. TypeError where it exports none."""
    from analysis.laws.base import Law

    law = getattr(module, "LAW", None)
    if not (isinstance(law, type) and issubclass(law, Law)):
        raise TypeError("it exports no LAW, a subclass of analysis.laws.base.Law")
    return law
