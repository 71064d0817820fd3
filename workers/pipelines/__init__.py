"""Diffusion pipelines as the procedure measures them. One module of ``families`` a family, found by the catalog's
``family``; adding a family is adding one module there with a subclass of :class:`workers.pipelines.base.Pipeline` bound
to ``FAMILY``.

Importing this package imports no torch; ``load`` does.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING

from farm import catalog
from farm.domain import Configuration, Infeasible, OperationError

if TYPE_CHECKING:
    from workers.pipelines.base import Pipeline

__all__ = ["load", "supported"]


def supported(model_name: str) -> bool:
    """Whether a pipeline family for that catalog model is shipped. RequestError where the catalog lacks the model."""
    return _find(catalog.model(model_name).family)


def load(configuration: Configuration, device: str = "cuda") -> Pipeline:
    """The pipeline of a configuration, its weights on ``device`` (``cuda``, ``cuda:0``, ``cpu``).

    Keep it between jobs: :meth:`Pipeline.bind` takes it to another configuration of the same
    ``Configuration.pipeline``; :meth:`Pipeline.close` gives its memory back.

    Raises RequestError (unknown model, or what that model cannot take), Infeasible (weights not here, no such
    device, a model that this version of diffusers does not have), OutOfMemory, and OperationError for a family's module
    that exports no family.
    """
    model = catalog.model(configuration.model)
    model.check(configuration)
    if not _find(model.family):
        raise Infeasible(f"{model.name}: no pipeline for the family {model.family} is shipped")
    return _family(model.family).load(model, configuration, device)


def _family(name: str) -> type[Pipeline]:
    """The class that a family's module exports. OperationError where it exports none."""
    from workers.pipelines.base import Pipeline

    family = getattr(importlib.import_module(f"{__name__}.families.{name}"), "FAMILY", None)
    if not (isinstance(family, type) and issubclass(family, Pipeline)):
        raise OperationError(
            f"workers/pipelines/families/{name} is no pipeline family: "
            "it exports no FAMILY, a subclass of workers.pipelines.base.Pipeline"
        )
    return family


def _find(family: str) -> bool:
    return family.isidentifier() and importlib.util.find_spec(f"{__name__}.families.{family}") is not None
