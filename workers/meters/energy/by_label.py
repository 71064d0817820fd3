"""From an attribution by span to the energies by label that a meter reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from workers.meters.base import Energy, Span
from workers.meters.energy.attribution import Attribution, attribute
from workers.meters.energy.cumulative import CumulativeEnergy, idle_levels


def energy_from(
    levels: CumulativeEnergy, spans: Sequence[Span], *, flags: Sequence[str] = (), shortest_seconds: float = 0.0
) -> Energy:
    """Energies of cumulative energy that is taken as it is; work shorter than ``shortest_seconds`` is refused."""
    attribution = attribute(levels, spans)
    too_short = 0 < work_seconds(spans) < shortest_seconds
    if attribution is not None and not too_short:
        return energy_of(attribution, spans, flags=flags)
    idle = idle_levels(levels, spans)
    watts, std = (idle[0].watts, idle[0].std) if idle else (None, None)
    if attribution is not None:
        watts, std = attribution.idle_watts, attribution.idle_std
    return unknown(
        spans,
        flags=(*flags, "window_too_short") if too_short else flags,
        notes={"shortest_seconds": shortest_seconds} if too_short else None,
        idle_watts=watts,
        idle_watts_std=std,
    )


def work_seconds(spans: Sequence[Span]) -> float:
    """How long all that is attributed energy lasted."""
    return sum(s.end - s.start for s in spans if s.counts)


def energy_of(
    attribution: Attribution,
    spans: Sequence[Span],
    *,
    flags: Sequence[str] = (),
    systematic_percent: float | None = None,
    power_joules: float | None = None,
    complete: bool = True,
    notes: Mapping[str, Any] | None = None,
) -> Energy:
    """Sum an attribution by label."""
    labels = dict.fromkeys(s.label for s in spans if s.counts)
    joules: dict[str, float | None] = {}
    std: dict[str, float | None] = {}
    for label in labels:
        labelled = [i for i, s in enumerate(spans) if s.label == label]
        joules[label] = float(attribution.joules[labelled].sum())
        common = float(attribution.common[labelled].sum())
        std[label] = math.hypot(common, attribution.split[label], *attribution.independent[labelled])
    return Energy(
        dynamic_joules=joules,
        std_joules=std,
        span_joules=tuple(float(j) for j in attribution.joules),
        total_joules=attribution.total,
        total_std_joules=attribution.total_std,
        gross_joules=attribution.gross,
        idle_watts=attribution.idle_watts,
        idle_watts_std=attribution.idle_std,
        power_joules=power_joules,
        systematic_percent=systematic_percent,
        flags=tuple(flags),
        complete=complete,
        notes={**(notes or {}), "budget_joules": attribution.budget},
    )


def unknown(
    spans: Sequence[Span],
    *,
    flags: Sequence[str] = (),
    complete: bool = True,
    notes: Mapping[str, Any] | None = None,
    idle_watts: float | None = None,
    idle_watts_std: float | None = None,
) -> Energy:
    """An energy of which nothing is known: null, never zero."""
    labels = dict.fromkeys(s.label for s in spans if s.counts)
    return Energy(
        dynamic_joules=dict.fromkeys(labels),
        std_joules=dict.fromkeys(labels),
        span_joules=(None,) * len(spans),
        total_joules=None,
        total_std_joules=None,
        gross_joules=None,
        idle_watts=idle_watts,
        idle_watts_std=idle_watts_std,
        flags=tuple(flags),
        complete=complete,
        notes=notes or {},
    )
