"""Which pretrained weights a sweep needs: those that its jobs will load."""

from __future__ import annotations

from farm.catalog import memory
from farm.sweeps.spec import SweepSpec


def pretrained_models(spec: SweepSpec) -> list[tuple[str, str]]:
    """Models and sizes whose pretrained weights jobs of a sweep load; what fits none of its GPU types is not among
    them."""
    pairs: dict[tuple[str, str], None] = {}
    for configuration, _ in spec.jobs():
        pair = (configuration.model, configuration.size)
        if configuration.weights == "pretrained" and pair not in pairs and memory.objection(configuration) is None:
            pairs[pair] = None
    return list(pairs)
