"""What fits which GPU type, before anything is queued."""

from __future__ import annotations

import pytest

from farm import catalog
from farm.catalog.memory import MEMORY, VIDEO, estimate_bytes, explain, need, objection, shortage
from farm.domain import Configuration

FP16, FP32 = "fp16", "fp32"


def configuration(model: str, gpu: str, precision: str, side: int = 1024, **values: object) -> Configuration:
    plain = {"steps": 10, "cfg": True, "prompts": 64}
    return Configuration(model=model, gpu=gpu, width=side, height=side, precision=precision, **(plain | values))


@pytest.mark.parametrize(
    ("gpu", "fits"),
    [
        ("a4000", {("sd2", FP16), ("sd2", FP32)}),
        ("a6000", {("sd2", FP16), ("sd2", FP32), ("sd35", FP16), ("flux", FP16)}),
        ("a100", {(m, p) for m in ("sd2", "sd35", "flux", "qwen") for p in (FP16, FP32)} - {("qwen", FP32)}),
        ("h200", {(m, p) for m in ("sd2", "sd35", "flux", "qwen") for p in (FP16, FP32)}),
    ],
)
@pytest.mark.parametrize("side", [256, 1024])
def test_the_papers_models(gpu, fits, side):
    found = {
        (model, precision)
        for model in ("sd2", "sd35", "flux", "qwen")
        for precision in (FP16, FP32)
        if objection(configuration(model, gpu, precision, side)) is None
    }
    assert found == fits


@pytest.mark.parametrize(
    ("model", "precision", "gigabytes"),
    [("sd2", FP16, 5.0), ("sd2", FP32, 9.3), ("sd35", FP16, 30.2), ("sd35", FP32, 59.4), ("flux", FP16, 36.1),
     ("flux", FP32, 71.6), ("qwen", FP16, 62.3), ("qwen", FP32, 124.0)],
)  # fmt: skip
def test_holds_what_was_counted_tensor_by_tensor(model, precision, gigabytes):
    """Weights and activations at 1024 px, traced with diffusers 0.42.1 on the meta device: without any workspace."""
    estimate = estimate_bytes(configuration(model, "a100", precision)) / 1e9
    assert gigabytes <= estimate < 1.2 * gigabytes + 2.0


@pytest.mark.parametrize(
    ("model", "precision", "side", "gigabytes"),
    [("sd2", FP16, 512, 3.274), ("sd35-medium", FP16, 1024, 21.353), ("flux", "bf16", 1024, 36.351),
     ("sdxl", FP16, 1024, 12.382)],
)  # fmt: skip
def test_holds_what_torch_held_at_its_peak_on_a_board(model, precision, side, gigabytes):
    """On an H200 with torch 2.11 (analysis/data/measured/h200.csv); the context is beside what torch counts."""
    without_context = estimate_bytes(configuration(model, "h200", precision, side, prompts=2)) / 1e9 - 0.6
    assert gigabytes <= without_context < 1.15 * gigabytes


def test_grows_with_batch_and_pixels():
    one = estimate_bytes(configuration("sd2", "a4000", FP16))
    assert estimate_bytes(configuration("sd2", "a4000", FP16, batch=4)) > one
    assert objection(configuration("sd2", "a4000", FP16, batch=16)) == MEMORY
    assert estimate_bytes(configuration("sd2", "a4000", FP16, side=512)) < one


def test_says_how_much_is_needed_and_how_much_there_is():
    assert explain(configuration("flux", "a100", FP16)) is None
    words = "needs an estimated {} GB with every part on the device, a4000 has 17.2 GB"
    assert explain(configuration("flux", "a4000", FP16)) == words.format("39.9")
    assert shortage("a4000", [36.14e9, 20e9, 36.06e9]) == words.format("20.0 to 36.1")
    assert explain(configuration("sd35", "a4000", FP16, side=4096)) == "sd35 takes at most 3072 pixels"


def test_a_video_is_told_by_its_weights_where_they_alone_are_too_large():
    video = need(configuration("wan2.1-14b", "a4000", FP16))
    assert video.on(catalog.gpu("a4000"))[0] is False
    assert video.on(catalog.gpu("h100"))[0] is None
    assert objection(configuration("wan2.1-14b", "h100", FP16)) == VIDEO
    assert need(configuration("flux", "a100", FP16)).on(catalog.gpu("a100")) == (True, None)


@pytest.mark.parametrize("gpu", sorted(catalog.gpus()))
@pytest.mark.parametrize("model", sorted(name for name in catalog.models() if catalog.has_build(name + catalog.NANO)))
def test_nano_fits_everywhere(model, gpu):
    values = {"cfg": False, "size": "nano", "batch": 8}
    assert objection(configuration(model, gpu, FP32, side=256, **values)) is None


@pytest.mark.parametrize("model", sorted(catalog.models()))
def test_every_model_of_the_catalog_has_a_sensible_estimate(model):
    weights = 2 * sum(catalog.model(model).parameters.values())
    assert weights < estimate_bytes(configuration(model, "h200", FP16)) < 3 * weights + 10e9
