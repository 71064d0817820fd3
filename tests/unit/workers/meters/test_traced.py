"""The other truth of simulated devices: from the traced work, and neither Eq. 3 nor a law of this project."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from farm import catalog
from farm.domain import PHASES, Configuration
from tests.traced_truth import traced_joules
from workers.meters import open_meter, simulated_workload
from workers.meters.simulated import traced, truth
from workers.procedure.measure import measure

ONE = Configuration(model="sd35", gpu="a100", width=512, height=512, steps=20, precision="fp16", cfg=False, prompts=10)


def test_a_measurement_follows_it() -> None:
    meter = open_meter("a100", simulate=True)
    small = replace(ONE, model="sd2", width=256, height=256)
    found = measure(small, simulated_workload(small, meter, law="traced"), meter, prompts=["a cat"]).measurement
    assert found.energy_joules == pytest.approx(traced_joules(small), rel=0.05)
    assert abs(traced_joules(small) / truth.energy_joules(small) - 1) > 0.2
    assert found.flags == ("simulated",)


@pytest.mark.parametrize("model", ["sd2", "sd35", "flux", "qwen", "sdxl", "pixart-sigma"])
def test_every_phase_draws_less_than_the_board_has_and_grows_with_its_work(model: str) -> None:
    for gpu in ("a100", "h100", "rtx4090"):
        span = catalog.gpu(gpu).board_power_watts - catalog.gpu(gpu).idle_watts
        small = replace(ONE, model=model, gpu=gpu)
        found = traced.draws(small)
        assert found is not None
        assert tuple(found) == PHASES
        assert all(0 < draw.watts < span for draw in found.values())
        assert traced_joules(replace(small, prompts=20)) == pytest.approx(2 * traced_joules(small))
        for more in ({"width": 1024, "height": 1024}, {"steps": 40}, {"precision": "fp32"}):
            assert traced_joules(replace(small, **more)) > 1.2 * traced_joules(small)


def test_it_is_no_power_law_of_the_work() -> None:
    """Eq. 3 fitted to it misses by far more than its scatter."""
    sides, steps = (256, 512, 768, 1024), (5, 10, 20, 50)
    rows = [replace(ONE, width=side, height=side, steps=n) for side in sides for n in steps]
    work = [c.steps * truth.denoise_gflops(catalog.model("sd35"), c.pixels) for c in rows]
    design = np.column_stack([np.ones(len(rows)), np.log(work), np.log([c.pixels for c in rows])])
    energies = np.log([traced_joules(c) for c in rows])
    fitted, *_ = np.linalg.lstsq(design, energies, rcond=None)
    assert np.abs(energies - design @ fitted).max() > 0.06


def test_a_model_without_a_table_has_none() -> None:
    assert traced.draws(replace(ONE, model="kandinsky-3", size="nano")) is None
