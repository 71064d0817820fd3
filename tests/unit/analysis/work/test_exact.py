"""Closed forms and shipped tables against counts made independently of both."""

import pytest

from analysis.work import load
from farm.domain.errors import RequestError
from tests.unit.analysis.work import exact
from tests.unit.analysis.work.pipelines import traced_rows

SIDES = (256, 512, 768, 1024)
# The study counted T5 with all weights in 16 bits; under fp16 transformers keeps a matrix of each layer in fp32.
STUDY = {(r["model"], r["resolution"], r["component"]): r for r in traced_rows()}
STEP = {"qwen": "denoise_step_ntxt17"}


@pytest.mark.parametrize("model", exact.MODELS)
@pytest.mark.parametrize("side", SIDES)
def test_closed_forms_tables_and_the_study_agree(model, side):
    work = load.load(model)
    step, decode = (work.totals(phase, side, side) for phase in ("denoise", "decode"))
    study_step = STUDY[model, str(side), STEP.get(model, "denoise_step")]
    study_decode = STUDY[model, str(side), "vae_decode"]

    assert exact.denoise_flops(model, side, side) == pytest.approx(step.flops, rel=1e-9)
    assert exact.decode_flops(model, side, side) == pytest.approx(decode.flops, rel=1e-9)
    assert step.flops / 1e9 == pytest.approx(float(study_step["exact_gflops"]), rel=1e-5)
    assert decode.flops / 1e9 == pytest.approx(float(study_decode["exact_gflops"]), rel=1e-5)
    for found, study in ((step, study_step), (decode, study_decode)):
        assert found.moved_bytes == pytest.approx(float(study["bytes"]), rel=1e-3)
        assert found.kernels == pytest.approx(float(study["ops"]), rel=1e-3)


@pytest.mark.parametrize(
    ("model", "side", "component"), [("sd2", 768, "denoise_step_cfg_b2"), ("sd35", 1024, "denoise_step_cfg_b2")]
)
def test_cfg_in_one_batch_of_two(model, side, component):
    step, study = load.load(model).totals("denoise", side, side, cfg=True), STUDY[model, str(side), component]
    assert step.flops / 1e9 == pytest.approx(float(study["exact_gflops"]), rel=1e-5)
    assert step.moved_bytes == pytest.approx(float(study["bytes"]), rel=1e-3)
    assert step.kernels == float(study["ops"])


@pytest.mark.parametrize("model", exact.MODELS)
def test_text_agrees(model):
    parts = [
        float(r["exact_gflops"])
        for (name, resolution, part), r in STUDY.items()
        if name == model and resolution == "any" and (model != "qwen" or part == "text_qwen25vl_51tok")
    ]
    text = load.load(model).totals("text", 512, 512)
    assert exact.text_flops(model) == pytest.approx(text.flops, rel=1e-6)
    assert text.flops / 1e9 == pytest.approx(sum(parts), rel=1e-5)


def test_closed_forms_hold_for_sizes_that_divide_by_neither_64_nor_each_other():
    for model in exact.MODELS:
        work = load.load(model)
        for width, height in ((528, 784), (1040, 272)):
            assert exact.denoise_flops(model, width, height) == pytest.approx(
                work.totals("denoise", width, height).flops, rel=1e-9
            )


def test_a_model_without_closed_forms_is_refused():
    with pytest.raises(RequestError, match="closed forms"):
        exact.text_flops("sdxl")
