"""The work table of a catalog model: the shipped one where it is up to date, one traced now otherwise."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Final

from analysis.work import ondemand
from analysis.work.format import ModelWork, parse
from analysis.work.trace.pipeline import Pipeline, from_catalog
from farm import catalog
from farm.domain.errors import RequestError

SHIPPED: Final = catalog.SHIPPED / "work"


def load(name: str) -> ModelWork:
    """The table of a catalog model (``flux-nano``: at nano size): the shipped one, or, for a lab's own model, one
    traced now and kept in FARM_HOME.

    RequestError where the catalog has no such model; OperationError where it must be traced and torch is not installed.
    """
    return _load(name, catalog.build(name).digest, str(ondemand.home()))


def is_known(name: str) -> bool:
    """Tell whether ``load`` has the table at hand, rather than has to trace it."""
    try:
        return _is_known(name, catalog.build(name).digest, str(ondemand.home()))
    except RequestError:
        return False


@lru_cache(maxsize=64)
def _is_known(name: str, _digest: str, _home: str) -> bool:
    pipeline = from_catalog(catalog.build(name))
    return _shipped(pipeline) is not None or ondemand.is_kept(pipeline, "table")


@lru_cache(maxsize=64)
def _load(name: str, _digest: str, _home: str) -> ModelWork:
    pipeline = from_catalog(catalog.build(name))
    return parse(_shipped(pipeline) or ondemand.table(pipeline))


def _shipped(pipeline: Pipeline) -> dict[str, Any] | None:
    """The table that ships with the catalog, None where there is none of exactly this pipeline."""
    path = SHIPPED / f"{pipeline.name}.json"
    if not path.is_file():
        return None
    table: dict[str, Any] = json.loads(path.read_text())
    return table if table["digest"] == pipeline.digest else None
