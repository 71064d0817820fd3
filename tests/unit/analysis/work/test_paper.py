"""Tables 3 to 5 of the paper as printed, against the control values restated from it."""

import pytest

from analysis.work import paper
from farm.domain.errors import RequestError
from tests.unit.analysis.work.pipelines import traced_rows

SIDES = (256, 512, 768, 1024)
CONTROL_GFLOPS = {
    "flux": (10121.5, 20656.1, 39131.8, 66925.8),
    "sd35": (3186.8, 7534.8, 15265.9, 27107.0),
    "qwen": (3668.5, 14474.4, 33450.7, 62046.9),
    "sd2": (173.7, 740.9, 1839.4, 3698.7),
}


@pytest.mark.parametrize("model", paper.MODELS)
def test_one_denoising_step_has_the_printed_flops(model):
    found = [paper.denoise_flops(model, side, side) / 1e9 for side in SIDES]
    # 0.01 %, and half a unit of the last digit that the control values print
    assert found == pytest.approx(CONTROL_GFLOPS[model], rel=1e-4, abs=0.05)


def test_components_agree_with_an_independent_evaluation():
    rows = {(r["model"], r["resolution"], r["component"]): float(r["paper_gflops"] or "nan") for r in traced_rows()}
    for model in ("flux", "sd35", "qwen"):
        for side in SIDES:
            assert paper.denoise_flops(model, side, side) / 1e9 == pytest.approx(
                rows[model, str(side), "denoise_step"], rel=1e-6
            )
            assert paper.decode_flops(model, side, side) / 1e9 == pytest.approx(
                rows[model, str(side), "vae_decode"], rel=1e-6
            )
    text = {
        "flux": rows["flux", "any", "text_clip_l"] + rows["flux", "any", "text_t5_512"],
        "qwen": rows["qwen", "any", "text_qwen25vl_12tok"],
        "sd35": sum(rows["sd35", "any", part] for part in ("text_clip_l", "text_clip_g", "text_t5_256")),
    }
    for model, expected in text.items():
        assert paper.text_flops(model) / 1e9 == pytest.approx(expected, rel=1e-5)


def test_width_and_height_count_alike():
    for model in paper.MODELS:
        assert paper.denoise_flops(model, 512, 768) == paper.denoise_flops(model, 768, 512)


def test_what_the_paper_does_not_give_is_none_and_what_it_does_not_have_is_refused():
    assert paper.text_flops("sd2") is None
    assert paper.decode_flops("sd2", 512, 512) is None
    with pytest.raises(RequestError, match="a model of the paper"):
        paper.denoise_flops("sdxl", 512, 512)
