"""A posterior as plain JSON, and back to the last digit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.laws.work.hierarchy import Posterior, Shapes, Spread
from analysis.laws.work.packed import packed, unpacked


def of_posterior(post: Posterior) -> dict[str, Any]:
    """Write a posterior out as JSON values by name."""
    return {
        "p": post.p.tolist(),
        "covariance": packed(post.covariance),
        "sigma": _of_spread(post.sigma),
        "tau": _of_spread(post.tau),
        "scale": post.scale,
        "scale_degrees": post.scale_degrees,
        "shapes": [post.shapes.mean.tolist(), post.shapes.variance.tolist(), post.shapes.known.tolist()],
    }


def posterior(state: Mapping[str, Any]) -> Posterior:
    """Read back what :func:`of_posterior` wrote. KeyError, TypeError or ValueError for anything else."""
    return Posterior(
        np.array(state["p"]),
        unpacked(state["covariance"]),
        _spread(state["sigma"]),
        _spread(state["tau"]),
        Shapes(*(np.array(values, dtype=np.float64) for values in state["shapes"])),
        float(state["scale"]),
        float(state["scale_degrees"]),
    )


def _of_spread(spread: Spread) -> dict[str, Any]:
    return {"of_group": spread.of_group.tolist(), "common": spread.common, "count": spread.count.tolist()}


def _spread(data: Mapping[str, Any]) -> Spread:
    of_group, count = (np.array(data[name], dtype=np.float64) for name in ("of_group", "count"))
    return Spread(of_group, float(data["common"]), count)
