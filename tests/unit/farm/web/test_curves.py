"""The sizes that a curve is drawn over."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from farm.catalog.rules import Rules
from farm.domain import Configuration
from farm.web import charts, curves


@pytest.mark.parametrize(("multiple", "largest_side"), [(8, None), (100, None), (1024, 1024), (64, 192), (64, 64)])
@pytest.mark.parametrize("shape", [(1, 1), (2, 1)])
def test_there_are_sizes_of_every_model_and_only_such_as_it_takes(monkeypatch, multiple, largest_side, shape):
    rules = Rules("m", "none", multiple, largest_side)
    monkeypatch.setattr(curves.catalog, "model", lambda name: SimpleNamespace(rules=lambda size: rules))
    width, height = (part * multiple for part in shape)
    c = Configuration(
        model="m", gpu="h100", width=width, height=height, steps=1, precision="fp16", cfg=False, prompts=1
    )
    sides = [each.width for each in curves.over_sizes(c)]
    assert sides
    assert sides == sorted(set(sides))
    assert all(side % multiple == 0 and side <= (largest_side or 2048) for side in sides)
    assert shape == (2, 1) or width in sides


def test_a_curve_of_one_size_is_drawn():
    assert charts.curve([64.0], [2.0], [1.0], [3.0], [], title="one", label="pixels")
