"""The laws: one module or package each.

What here defines ``LAW``, a subclass of :class:`analysis.laws.base.Law`, is a law under the name of that module or
package, whose class then is in its module ``law``; nothing else is to be registered.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import TYPE_CHECKING

from farm.domain.errors import RequestError

if TYPE_CHECKING:
    from analysis.laws.base import Law

DEFAULT = "work"


@cache
def names() -> tuple[str, ...]:
    """The laws there are, sorted."""
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(name for name in modules if hasattr(importlib.import_module(f"{__name__}.{name}"), "LAW"))


def get(name: str) -> type[Law]:
    """The class of a law by its name; RequestError listing the names there are."""
    if name not in names():
        raise RequestError("law", name, f"one of {', '.join(names())}")
    law: type[Law] = importlib.import_module(f"{__name__}.{name}").LAW
    return law
