"""Tracing on the meta device, and the compact tables made from traces."""

import json
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from analysis.work import load
from analysis.work.format import parse
from analysis.work.trace import conventions, recorder
from analysis.work.trace.build import build, parameters
from analysis.work.trace.compact import tabulate
from analysis.work.trace.inputs import DENOISERS
from analysis.work.trace.phases import Tracer
from analysis.work.trace.pipeline import from_catalog
from analysis.work.trace.recorder import FusedAttention, Recorder
from farm import catalog
from farm.catalog import Component
from farm.domain import PHASES
from farm.domain.errors import RequestError
from tests.unit.analysis.work.pipelines import nano

PAPER = ("sd2", "sd35", "flux", "qwen")
NANO = ("sd2", "sd35", "flux", "qwen", "sd15", "sd35-medium")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def test_every_model_of_the_catalog_ships_the_table_of_its_configuration():
    for model in catalog.models().values():
        data = json.loads((load.SHIPPED / f"{model.name}.json").read_text())
        assert data["digest"] == from_catalog(model).digest, f"python -m analysis.work.make_tables {model.name}"


def test_the_catalog_says_which_models_make_videos():
    for model in catalog.models().values():
        assert model.video == from_catalog(model).convention.video == (load.load(model.name).video is not None)


@pytest.mark.parametrize("model", PAPER)
def test_the_shipped_table_is_what_tracing_gives(model):
    """At a size that no table was made from, an odd multiple on both axes."""
    work, tracer = load.load(model), Tracer(from_catalog(catalog.model(model)), "fp16")
    multiple = catalog.model(model).multiple
    width, height = 544 + multiple, 352 + multiple
    for phase in ("denoise", "decode"):
        ops = tracer.phase(phase, width, height)
        totals = work.totals(phase, width, height)
        assert totals.flops == pytest.approx(sum(op.flops for op in ops), rel=1e-9)
        moved = sum(op.read_bytes + op.weight_bytes + op.write_bytes for op in ops)
        assert totals.moved_bytes == pytest.approx(moved, rel=2e-3)
        assert totals.dispatches == len(ops)


@pytest.mark.parametrize("model", NANO)
def test_flops_equal_those_of_torch(model, monkeypatch):
    """Against FlopCounterMode on the same forward, of which nothing is taken as known from before; with that it is the
    same operations."""
    pipeline = nano(model)
    shorter, whole = Tracer(pipeline, "fp32"), Tracer(pipeline, "fp32")
    for phase in PHASES:
        known = shorter.phase(phase, 128, 192, 2)
        with FlopCounterMode(display=False) as counter, monkeypatch.context() as patch:
            patch.setattr(recorder, "makes_anew", lambda func: False)
            ops = whole.phase(phase, 128, 192, 2)
        assert known == ops
        assert sum(op.flops for op in ops) == counter.get_total_flops() > 0


@pytest.mark.parametrize("model", ["sd2", "sd35", "flux"])
def test_a_table_predicts_other_sizes_and_batches(model):
    pipeline = nano(model)
    work = parse(tabulate(pipeline, ("fp16",)))
    multiple = pipeline.convention.multiple
    tracer = Tracer(pipeline, "fp16")
    for phase in PHASES:
        for width, height, samples in ((320, 448, 1), (5 * multiple, 11 * multiple, 1), (192, 640, 5)):
            ops = tracer.phase(phase, width, height, samples)
            groups = work.groups(phase, "fp16", samples == 1)
            found = groups.evaluate(width, height, samples)
            assert found["flops"].sum() == pytest.approx(sum(op.flops for op in ops), rel=1e-9)
            for name in ("read_bytes", "write_bytes", "weight_bytes"):
                assert found[name].sum() == pytest.approx(sum(getattr(op, name) for op in ops), rel=0.02)
            assert groups.count.sum() == len(ops)


def test_a_table_can_be_made_of_a_model_whose_sizes_are_coarse():
    """Kandinsky takes multiples of 64: doubled four times, all sizes that are traced would be one."""
    pipeline = nano("sd2")
    coarse = replace(pipeline, convention=replace(pipeline.convention, multiple=64))
    work = parse(tabulate(coarse, ("fp16",)))
    for phase in ("denoise", "decode"):
        ops = Tracer(coarse, "fp16").phase(phase, 320, 448)
        assert work.totals(phase, 320, 448).flops == pytest.approx(sum(op.flops for op in ops), rel=1e-9)


def test_dimensions_give_the_flops_of_every_group():
    """2 b m n k an operation (twice for attention), so a roofline may use either."""
    for name in catalog.models():
        work = load.load(name)
        for (phase, _, single), groups in work.phases.items():
            q = groups.evaluate(768, 512, 1 if single else 4)
            products = 2.0 * q["b"] * q["m"] * q["n"] * q["k"] * groups.count
            for i, kind in enumerate(groups.kind):
                if kind in ("matmul", "attention", "convolution"):
                    expected = q["flops"][0, i] / (2 if kind == "attention" else 1)
                    assert products[0, i] == pytest.approx(expected, rel=1e-9), (name, phase, i, kind)
                else:
                    assert products[0, i] == 0


def test_parameters_are_the_published_ones():
    """Every shipped model, each component on the meta device; counts as in its TOML, which states the source."""
    names = {"denoise": "denoiser", "text": "text", "decode": "decoder"}
    built: dict[str, int] = {}  # many models have the same T5
    for model in catalog.models().values():
        counted = dict.fromkeys(names.values(), 0)
        for component in model.components.values():
            key = json.dumps([component.cls, component.config], sort_keys=True)
            built[key] = built[key] if key in built else parameters(build(component, "fp16"))
            counted[names[component.phase]] += built[key]
        assert counted == {name: int(model.parameters[name]) for name in counted}, model.name


def test_bytes_of_one_product_are_those_of_its_matrices():
    layer = torch.nn.Linear(64, 32, device="meta", dtype=torch.float16)
    with torch.no_grad(), FusedAttention(), Recorder(torch.float16, layer.parameters()) as recorder:
        layer(torch.empty(10, 64, device="meta", dtype=torch.float16))
    (op,) = [op for op in recorder.ops if op.kind != "view"]
    assert (op.kind, op.precision, op.flops) == ("matmul", "low", 2 * 10 * 64 * 32)
    assert op.dims == (1, 10, 32, 64)
    assert (op.read_bytes, op.weight_bytes, op.write_bytes) == (2 * 10 * 64, 2 * (64 * 32 + 32), 2 * 10 * 32)


def test_fused_attention_writes_no_matrix_of_scores():
    q = torch.empty(2, 4, 100, 16, device="meta")
    with torch.no_grad(), FusedAttention(), Recorder(torch.float32, ()) as recorder:
        torch.nn.functional.scaled_dot_product_attention(q, q, q)
    (op,) = recorder.ops
    assert (op.kind, op.dims, op.flops) == ("attention", (8, 100, 100, 16), 4 * 8 * 100 * 100 * 16)
    assert op.write_bytes == 4 * q.numel()


def test_under_fp16_the_t5_output_matrix_stays_fp32_and_under_bf16_not():
    pipeline = nano("flux")
    wide = {
        precision: [
            op
            for op in Tracer(pipeline, precision).phase("text", 64, 64)
            if op.kind == "matmul" and op.precision == "fp32"
        ]
        for precision in ("fp16", "bf16")
    }
    layers = pipeline.components["text_encoder_2"].config["num_layers"]
    assert len(wide["fp16"]) == layers
    assert not wide["bf16"]


def test_twice_the_samples_read_the_same_weights():
    tracer = Tracer(nano("sd2"), "fp16")
    one, two = (sum(op.weight_bytes for op in tracer.phase("denoise", 128, 128, n)) for n in (1, 2))
    assert one > 0
    assert two == pytest.approx(one, rel=0.05)  # some products read an expanded weight


@pytest.mark.parametrize(
    ("library", "cls", "config", "match"),
    [
        ("os", "system", {}, "a class of diffusers or transformers"),
        ("diffusers", "NoSuchUNet", {}, "a model class of diffusers"),
        ("diffusers", "DDIMScheduler", {}, "a model class of diffusers"),
        ("diffusers", "UNet2DConditionModel", {"block_out_channels": [-1, 0]}, "a configuration that the class takes"),
        ("transformers", "CLIPTextModel", {"hidden_size": "wide"}, "a configuration that the class takes"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(library, cls, config, match):
    with pytest.raises(RequestError, match=match) as refused:
        build(Component("unet", library, cls, "denoise", config, {}), "fp16")
    assert "\n" not in str(refused.value)


def test_the_denoisers_that_are_known_by_name_are_those_whose_inputs_are():
    assert DENOISERS.keys() == {known.denoiser for known in conventions.CONVENTIONS.values()}


def test_a_denoiser_or_decoder_that_is_not_known_is_refused():
    pipeline = nano("sd2")
    vae = replace(pipeline.components["vae"], cls="AutoencoderOobleck", config={})
    odd = replace(pipeline, components={**pipeline.components, "vae": vae})
    with pytest.raises(RequestError, match="decoder: AutoencoderOobleck: one of AutoencoderDC"):
        Tracer(odd, "fp16").phase("decode", 64, 64)
