"""The pages, one a module. A module exports ``PAGE``, a farm.web.site.Page; nothing else names it."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from farm.web.site import Page


def registered() -> list[Page]:
    """What every module of this package exports, as the top bar has them."""
    modules = [import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    return sorted((module.PAGE for module in modules), key=lambda page: page.place)
