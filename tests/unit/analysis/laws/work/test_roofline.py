"""Seconds by class of work: bounds that no GPU can beat, and the shapes that waste its time."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.laws.work.hardware import SHARES, watts
from analysis.laws.work.physics import COEFFICIENTS, respond
from analysis.laws.work.roofline import CLASSES, demand, waste
from analysis.table import Table
from analysis.work import load
from farm import catalog


def one(**changes: object) -> Table:
    base = {
        "model": "flux",
        "gpu": "a100",
        "resolution": 1024,
        "steps": 1,
        "precision": "fp16",
        "cfg": False,
        "prompts": 1,
    }
    return Table.from_rows([base | changes])


@pytest.mark.parametrize("model", ["flux", "sd2", "qwen", "sd35"])
@pytest.mark.parametrize("gpu", sorted(name for name, entry in catalog.gpus().items() if not entry.is_processor))
def test_no_step_is_faster_than_the_peak_allows(model: str, gpu: str) -> None:
    seconds = demand(one(model=model, gpu=gpu)).seconds[0, 1].sum()
    flops = load.load(model).totals("denoise", 1024, 1024).flops
    assert 1.0 < seconds * catalog.gpu(gpu).peak["fp16"] / flops < 6.0


def test_fp32_products_run_on_plain_cores_and_convolutions_as_tf32() -> None:
    seconds = dict(zip(CLASSES, demand(one(precision="fp32")).seconds[0].T, strict=True))
    assert seconds["matmul"].sum() == 0
    assert seconds["fp32"][1] > 5 * seconds["attention"][1]
    half = dict(zip(CLASSES, demand(one()).seconds[0].T, strict=True))
    assert 1.5 < seconds["convolution"][2] / half["convolution"][2] < 2.5  # the decoder: half the rate, not a sixteenth
    assert half["fp32"][0] > 0  # T5 keeps one product of each layer in fp32


def test_two_passes_of_guidance_take_twice_the_time_and_a_batch_less() -> None:
    for model, ratio in (("flux", 2.0), ("sd35", None)):
        single, double = (demand(one(model=model, cfg=cfg)).seconds[0, 1].sum() for cfg in (False, True))
        assert double / single == pytest.approx(ratio) if ratio else 1.5 < double / single < 2.0


def test_waste_is_least_where_tiles_and_waves_are_full() -> None:
    def of(m: float, n: float, name: str = "matmul") -> float:
        return float(waste(name, np.array(1.0), np.array(m), np.array(n), np.array(3072.0), 108))

    assert of(128 * 108, 256.0 * 4) == pytest.approx(1.0)
    assert of(17.0, 3072.0) > 3  # seventeen tokens leave most of a tile empty
    assert of(4096.0, 3072.0) < 1.2
    assert of(128.0, 1280.0, "convolution") < of(128.0, 1280.0)  # splits of k fill the wave


def test_slopes_are_the_derivatives_of_the_energy() -> None:
    asked = demand(one(model="sd2", resolution=256, cfg=True, steps=20, prompts=3, batch=2))
    for place, name in enumerate(COEFFICIENTS):
        small = np.zeros((1, len(COEFFICIENTS)))
        small[0, place] = 1e-5
        up, down = (np.log(respond(asked, sign * small).joules.sum()) for sign in (1, -1))
        assert (up - down) / 2e-5 == pytest.approx(respond(asked, 0 * small).slope[0, place], rel=1e-4, abs=1e-9), name


def test_a_machine_never_draws_more_than_its_board() -> None:
    for name, gpu in catalog.gpus().items():
        drawn = watts(name)
        assert len(drawn) == len(SHARES)
        assert max(drawn) <= gpu.board_power_watts - gpu.idle_watts + 1e-9
        assert min(drawn) > 0


def test_many_gpus_and_sizes_at_once_are_what_they_are_one_by_one() -> None:
    sizes = {"resolution": 256}, {"resolution": 1024, "batch": 4, "prompts": 6}, {"resolution": 768, "cfg": True}
    rows = [
        one(**{"model": model, "gpu": gpu, "precision": precision, **size})
        for model in ("sd2", "qwen")
        for gpu in ("a100", "b200", "rtx4090")
        for precision in ("fp16", "fp32")
        for size in sizes
    ]
    together = demand(Table.from_rows([row.configuration(0) for row in rows]))
    for place, row in enumerate(rows):
        alone = demand(row)
        slots = alone.times.shape[1]
        assert together.seconds[place, :slots] == pytest.approx(alone.seconds[0], rel=1e-12)
        assert together.dispatches[place, :slots].tolist() == alone.dispatches[0].tolist()
        assert together.times[place, slots:].tolist() == [0.0] * (together.times.shape[1] - slots)
