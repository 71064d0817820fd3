"""Our count of a pipeline's work against diffusers' own pipeline, run at nano size with torch's counter beside it.

Fake is only the tokenizer. Everything that the pipeline does is counted by torch, module by module: what the denoiser
took in two steps, what the text encoders and the decoder took.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from analysis.work import ondemand
from analysis.work.trace.conventions import CONVENTIONS, PROMPT_TOKENS, convention
from analysis.work.trace.phases import Tracer, count
from analysis.work.trace.pipeline import from_folder
from farm.domain.errors import RequestError
from tests.unit.analysis.work.trace.cases import (
    CASES,
    DDIM,
    FLOW,
    QWEN_VL,
    SIDE,
    STEPS,
    UNET_CONFIG,
    VAE,
    VIDEOS,
    Case,
    Part,
    build,
    folder,
    make,
)


@pytest.mark.filterwarnings("ignore::FutureWarning:diffusers")  # its classes use parts of it that it deprecates
@pytest.mark.parametrize("case", [*CASES, *VIDEOS], ids=lambda case: f"{case.cls}-{case.cfg}")
def test_every_phase_takes_what_the_pipeline_of_diffusers_takes(tmp_path: Path, case: Case) -> None:
    torch.set_num_threads(1)
    pipeline = build(case)
    pipeline.set_progress_bar_config(disable=True)
    for name, value in case.sizes.items():
        setattr(pipeline, name, value)
    call: dict[str, Any] = {"height": SIDE, "width": SIDE, "num_inference_steps": STEPS, "output_type": "pt"}
    call["num_frames"] = case.frames
    if "prompt" in inspect.signature(pipeline.__call__).parameters:
        call["prompt"] = "a cat"
    else:
        call |= {"image_embeds": torch.zeros(1, 32), "negative_image_embeds": torch.zeros(1, 32)}
    if case.image:
        call["image"] = torch.zeros(1, 3, SIDE, SIDE)
    known = inspect.signature(pipeline.__call__).parameters
    call = {name: value for name, value in (call | case.call).items() if name in known}
    counters: dict[str, int] = {}

    def counted(name: str, function: Any) -> Any:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
                result = function(*arguments, **options)
            counters[name] = counters.get(name, 0) + counter.get_total_flops()
            return result

        return wrapper

    for name in case.parts:
        module = getattr(pipeline, name)
        if name in ("vae", "movq", "vqgan"):
            module.decode = counted("decode", module.decode)
        else:
            module.forward = counted("text" if name.startswith("text") else "denoise", module.forward)
    with torch.no_grad():
        pipeline(**call)

    found = from_folder(folder(tmp_path / "pipeline", case))
    ours = {phase: sums["flops"] or 0 for phase, sums in count(found, SIDE, SIDE, case.cfg, case.frames).items()}
    assert ours["denoise"] * STEPS == counters["denoise"] > 0
    assert ours["decode"] == counters["decode"] > 0
    assert ours["text"] == counters.get("text", 0)


def test_qwen_image_edit_sees_the_image_twice(tmp_path: Path) -> None:
    """The text encoder's eye and the denoiser, each against the class itself, at 128 pixels beside a megapixel."""
    vision = {"depth": 2, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32}
    encoder = {**QWEN_VL[2], "image_token_id": 7, "vision_start_token_id": 8, "vision_config": vision}
    vae: Part = ("diffusers", "AutoencoderKLQwenImage", {
        "base_dim": 8, "z_dim": 16, "dim_mult": [1, 1, 2, 2], "num_res_blocks": 1,
        "temperal_downsample": [False, True, True],
    })  # fmt: skip
    transformer: Part = ("diffusers", "QwenImageTransformer2DModel", {
        "patch_size": 2, "in_channels": 64, "out_channels": 16, "num_layers": 1, "attention_head_dim": 16,
        "num_attention_heads": 2, "joint_attention_dim": 32, "axes_dims_rope": [8, 4, 4], "zero_cond_t": True,
    })  # fmt: skip
    parts = {"transformer": transformer, "vae": vae, "text_encoder": (QWEN_VL[0], QWEN_VL[1], encoder)}
    ours = count(from_folder(folder(tmp_path / "p", Case("QwenImageEditPlusPipeline", parts, FLOW))), SIDE, SIDE, True)

    side = 28  # patches: 384 pixels, to the nearest 28
    tokens = [5] * 65 + [8] + [7] * (side // 2) ** 2 + [9] * (PROMPT_TOKENS + 5)
    real = make(*parts["text_encoder"]).eval()
    ids = torch.tensor([tokens])
    grid, patches = torch.tensor([[1, side, side]]), torch.zeros(side * side, 3 * 2 * 14 * 14)
    options = {"mm_token_type_ids": (ids == 7).long(), "pixel_values": patches, "image_grid_thw": grid}
    with torch.no_grad(), FlopCounterMode(display=False) as text, sdpa_kernel(SDPBackend.MATH):
        real(input_ids=ids, attention_mask=torch.ones_like(ids), **options)
    assert ours["text"]["flops"] == 2 * text.get_total_flops() > 0
    shapes = [(1, SIDE // 16, SIDE // 16), (1, 64, 64)]
    states, prompt = torch.zeros(1, 64 + 4096, 64), torch.zeros(1, len(tokens) - 64, 32)
    with torch.no_grad(), FlopCounterMode(display=False) as denoise, sdpa_kernel(SDPBackend.MATH):
        make(*transformer).eval()(states, prompt, timestep=torch.ones(1), img_shapes=[shapes])
    assert ours["denoise"]["flops"] == 2 * denoise.get_total_flops() > 0


KOLORS = Case(
    "KolorsPipeline",
    {
        "unet": ("diffusers", "UNet2DConditionModel", {
            **UNET_CONFIG, "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 80, "encoder_hid_dim": 32, "encoder_hid_dim_type": "text_proj",
            "use_linear_projection": True, "transformer_layers_per_block": [1, 2],
        }),
        "vae": VAE,
        "text_encoder": ("kolors", "ChatGLMModel", {
            "num_layers": 2, "padded_vocab_size": 99, "hidden_size": 32, "ffn_hidden_size": 24, "kv_channels": 8,
            "num_attention_heads": 4, "seq_length": 256, "multi_query_attention": True, "multi_query_group_num": 2,
            "rmsnorm": True, "layernorm_epsilon": 1e-5, "add_bias_linear": False, "add_qkv_bias": True,
            "original_rope": True, "post_layer_norm": True, "apply_query_key_layer_scaling": True,
            "attention_softmax_in_fp32": True, "fp32_residual_connection": False,
        }),
    },
    DDIM,
)  # fmt: skip


def test_text_is_unknown_where_the_folder_lacks_an_encoder_that_has_to_be_there(tmp_path: Path) -> None:
    """As published, HiDream comes without Llama."""
    (case,) = (case for case in CASES if case.cls == "HiDreamImagePipeline")
    path = folder(tmp_path / "pipeline", case)
    whole = count(from_folder(path), SIDE, SIDE, True)
    index = json.loads((path / "model_index.json").read_text())
    del index["text_encoder_4"]
    (path / "model_index.json").write_text(json.dumps(index))
    part = count(from_folder(path), SIDE, SIDE, True)
    assert part["text"] == {"flops": None, "moved_bytes": None, "kernels": None}
    assert part["denoise"] == whole["denoise"]
    with pytest.raises(RequestError, match="text_encoder_4: missing"):
        ondemand.table(from_folder(path))


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # in the text encoder
def test_kolors_takes_what_its_parts_take(tmp_path: Path) -> None:
    """Part by part: its pipeline wants a tokenizer library that is no part of joulefarm."""
    modules = {name: make(*part).eval() for name, part in KOLORS.parts.items()}
    ids = torch.full((1, 256), 2)
    added = {"text_embeds": torch.zeros(1, 32), "time_ids": torch.zeros(1, 6)}
    with torch.no_grad(), FlopCounterMode(display=False) as text, sdpa_kernel(SDPBackend.MATH):
        modules["text_encoder"](ids, attention_mask=torch.ones_like(ids), position_ids=torch.arange(256)[None])
    with torch.no_grad(), FlopCounterMode(display=False) as denoise, sdpa_kernel(SDPBackend.MATH):
        latent = torch.zeros(1, 4, SIDE // 8, SIDE // 8)
        modules["unet"](latent, 1, torch.zeros(1, 256, 32), added_cond_kwargs=added)
    tracer = Tracer(from_folder(folder(tmp_path / "pipeline", KOLORS)), "fp32")
    for phase, counter in (("text", text), ("denoise", denoise)):
        assert sum(op.flops for op in tracer.phase(phase, SIDE, SIDE)) == counter.get_total_flops() > 0


def test_a_pipeline_that_begins_with_an_image_has_the_parts_of_the_one_it_is_counted_as() -> None:
    """Every class of diffusers that the rule of names lets in; an adapter, say, would be one part more."""
    names = [name for name in dir(diffusers) if name not in CONVENTIONS and convention(name) is not None]
    assert {"StableDiffusionXLInpaintPipeline", "StableDiffusion3Img2ImgPipeline", "QwenImageInpaintPipeline"} <= {
        *names
    }
    for name in names:
        base = next(known for known in CONVENTIONS if CONVENTIONS[known] is convention(name) and known[:-8] in name)
        theirs, ours = (inspect.signature(getattr(diffusers, cls).__init__).parameters for cls in (name, base))
        optional = {"requires_aesthetics_score", "image_encoder", "feature_extractor"}
        assert {*theirs} - optional == {*ours} - optional, (name, base)
    assert convention("StableDiffusionXLControlNetUnionPipeline") is None
    assert convention("Img2ImgPipeline") is None
