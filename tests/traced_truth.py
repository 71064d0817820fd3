"""What a configuration costs on simulated devices that draw from the traced work."""

from __future__ import annotations

from farm.domain import Configuration
from workers.meters.simulated import traced


def traced_joules(configuration: Configuration) -> float:
    """Energy of all prompts together, above idle, without noise, in joules."""
    draws = traced.draws(configuration)
    assert draws is not None, f"{configuration.model}: no table of its work"
    return configuration.prompts * sum(draw.joules for draw in draws.values())
