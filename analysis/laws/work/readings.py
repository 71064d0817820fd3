"""A fit's numbers by the names that people read: ``params_`` and ``params_std_`` of the law ``work``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from analysis.laws.work.effects import Effects
from analysis.laws.work.hardware import SHARES
from analysis.laws.work.hierarchy import Posterior
from analysis.laws.work.known import Known
from analysis.laws.work.physics import HOST_SECONDS, LAUNCH_SECONDS

# Of the coefficients that all rows share: the name, and the centre that the fitted factor is of.
_SHARED: Final[Mapping[str, tuple[str, float]]] = {
    **{name: (f"share_{name}", share) for name, share in SHARES.items()},
    "launch": ("launch_microseconds", LAUNCH_SECONDS * 1e6),
    "host": ("host_seconds_per_megapixel", HOST_SECONDS),
    "pace": ("pace", 1.0),
}


def readings(effects: Effects, post: Posterior, known: Known) -> tuple[dict[str, Any], dict[str, Any]]:
    """Name the numbers of a fit, and their standard errors where they have any: coefficients that all rows share in
    their units, of every group the factor by which it differs (``factor_...``), noise and spreads relative."""
    spread = np.sqrt(np.diag(post.covariance))
    params: dict[str, Any] = {
        "noise": known.pooled(post.sigma),
        "shape_spread": known.pooled_shapes(post.tau),
        "spread_of_models": post.scale,
    }
    std: dict[str, Any] = {}
    for place, (grouping, name, what) in enumerate(effects.labels):
        label, centre = _SHARED.get(what, ("", 1.0)) if grouping == "shared" else ("", 1.0)
        value = float(centre * np.exp(post.p[place]))
        if label:
            params[label], std[label] = value, float(value * spread[place])
        else:
            column = f"factor_{grouping}_{what}"
            params.setdefault(column, {})[name] = value
            std.setdefault(column, {})[name] = float(value * spread[place])
    by_model = known.noise(post.sigma)
    if by_model:
        params["noise_of_model"] = {model: sigma for model, (sigma, _) in sorted(by_model.items())}
    return params, std
