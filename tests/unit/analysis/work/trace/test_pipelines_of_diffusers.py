"""Our count of a pipeline's work against diffusers' own pipeline, run at nano size with torch's counter beside it.

Fake is only the tokenizer. Everything that the pipeline does is counted by torch, module by module: what the denoiser
took in two steps, what the text encoders and the decoder took.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import diffusers
import pytest
import torch
import transformers
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from analysis.work.trace.conventions import CONVENTIONS, PROMPT_TOKENS, convention
from analysis.work.trace.phases import Tracer
from analysis.work.trace.pipeline import from_folder

SIDE, STEPS = 128, 2
Part = tuple[str, str, dict[str, Any]]  # library, class, configuration

CLIP: Part = ("transformers", "CLIPTextModel", {
    "vocab_size": 99, "hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4,
    "projection_dim": 32, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1,
})  # fmt: skip
T5: Part = ("transformers", "T5EncoderModel", {
    "vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4,
})  # fmt: skip
UMT5: Part = ("transformers", "UMT5EncoderModel", T5[2])
VAE: Part = ("diffusers", "AutoencoderKL", {
    "block_out_channels": [16, 16, 32, 32], "latent_channels": 4, "norm_num_groups": 8, "sample_size": 64,
    "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
})  # fmt: skip
VAE16: Part = ("diffusers", "AutoencoderKL", {**VAE[2], "latent_channels": 16, "use_quant_conv": False,
                                              "use_post_quant_conv": False, "shift_factor": 0.1})  # fmt: skip
TINY: Part = ("diffusers", "AutoencoderTiny", {
    "encoder_block_out_channels": [16] * 4, "decoder_block_out_channels": [16] * 4,
    "num_encoder_blocks": [1, 1, 1, 1], "num_decoder_blocks": [1, 1, 1, 1],
})  # fmt: skip
MOVQ: Part = ("diffusers", "VQModel", {
    "block_out_channels": [32, 32, 64, 64], "down_block_types": ["DownEncoderBlock2D"] * 4, "latent_channels": 4,
    "norm_num_groups": 8, "norm_type": "spatial", "num_vq_embeddings": 12, "up_block_types": ["UpDecoderBlock2D"] * 4,
    "vq_embed_dim": 4,
})  # fmt: skip
UNET_CONFIG: dict[str, Any] = {
    "block_out_channels": [16, 32], "layers_per_block": 1, "sample_size": 16, "in_channels": 4, "out_channels": 4,
    "cross_attention_dim": 32, "norm_num_groups": 8, "attention_head_dim": 2,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"], "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
}  # fmt: skip
UNET: Part = ("diffusers", "UNet2DConditionModel", UNET_CONFIG)
FLUX: dict[str, Any] = {
    "patch_size": 1, "in_channels": 64, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16,
    "num_attention_heads": 2, "joint_attention_dim": 32, "axes_dims_rope": [4, 4, 8],
}  # fmt: skip


def schedule(name: str, **config: Any) -> Any:
    return getattr(diffusers, name).from_config(config)


@dataclass(frozen=True)
class Case:
    cls: str
    parts: dict[str, Part]
    scheduler: Any
    call: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)  # further arguments of the constructor
    cfg: bool = False
    image: bool = False  # begins with an image


FLOW = schedule("FlowMatchEulerDiscreteScheduler")
DDIM = schedule("DDIMScheduler", steps_offset=1, clip_sample=False)
NO_CHECKER = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
SD = {"unet": UNET, "vae": VAE, "text_encoder": CLIP}
MASK = torch.ones(1, 1, SIDE, SIDE)
CASES = [
    Case("StableDiffusionPipeline", {**SD, "vae": TINY}, DDIM, {"guidance_scale": 1.0}, NO_CHECKER),
    Case("StableDiffusionPipeline", SD, DDIM, {"guidance_scale": 5.0}, NO_CHECKER, cfg=True),
    Case("StableDiffusionImg2ImgPipeline", SD, DDIM, {"guidance_scale": 5.0, "strength": 1.0}, NO_CHECKER, True, True),
    Case(
        "StableDiffusionInpaintPipeline",
        {**SD, "unet": ("diffusers", "UNet2DConditionModel", {**UNET_CONFIG, "in_channels": 9})},
        DDIM, {"guidance_scale": 1.0, "strength": 1.0, "mask_image": MASK}, NO_CHECKER, image=True,
    ),
    Case(
        "LatentConsistencyModelPipeline",
        {**SD, "unet": ("diffusers", "UNet2DConditionModel", {**UNET_CONFIG, "time_cond_proj_dim": 16})},
        schedule("LCMScheduler"), {}, NO_CHECKER,
    ),
    Case(
        "FluxFillPipeline",
        {
            "transformer": ("diffusers", "FluxTransformer2DModel", {
                **FLUX, "in_channels": 384, "out_channels": 64, "pooled_projection_dim": 32, "guidance_embeds": True,
            }),
            "vae": VAE16, "text_encoder": CLIP, "text_encoder_2": T5,
        },
        FLOW, {"mask_image": MASK}, image=True,
    ),
    Case(
        "ChromaPipeline",
        {
            "transformer": ("diffusers", "ChromaTransformer2DModel", {
                **FLUX, "approximator_num_channels": 8, "approximator_hidden_dim": 16, "approximator_layers": 1,
            }),
            "vae": VAE16, "text_encoder": T5,
        },
        FLOW, {"guidance_scale": 5.0}, cfg=True,
    ),
    Case(
        "AuraFlowPipeline",
        {
            "transformer": ("diffusers", "AuraFlowTransformer2DModel", {
                "sample_size": 16, "patch_size": 2, "in_channels": 4, "num_mmdit_layers": 1, "num_single_dit_layers": 1,
                "attention_head_dim": 8, "num_attention_heads": 4, "joint_attention_dim": 32, "out_channels": 4,
                "caption_projection_dim": 32, "pos_embed_max_size": 256,
            }),
            "vae": VAE, "text_encoder": UMT5,
        },
        FLOW, {"guidance_scale": 5.0}, cfg=True,
    ),
    Case(
        "CogView4Pipeline",
        {
            "transformer": ("diffusers", "CogView4Transformer2DModel", {
                "patch_size": 2, "in_channels": 4, "num_layers": 2, "attention_head_dim": 4, "num_attention_heads": 4,
                "out_channels": 4, "text_embed_dim": 32, "time_embed_dim": 8, "condition_dim": 4,
            }),
            "vae": VAE,
            "text_encoder": ("transformers", "GlmModel", {
                "vocab_size": 99, "hidden_size": 32, "intermediate_size": 8, "num_hidden_layers": 2,
                "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0,
            }),
        },
        schedule("FlowMatchEulerDiscreteScheduler", base_shift=0.25, max_shift=0.75, use_dynamic_shifting=True,
                 time_shift_type="linear"),
        {"guidance_scale": 5.0}, cfg=True,
    ),
    Case(
        "SanaSprintPipeline",
        {
            "transformer": ("diffusers", "SanaTransformer2DModel", {
                "patch_size": 1, "in_channels": 4, "out_channels": 4, "num_layers": 1, "num_attention_heads": 2,
                "attention_head_dim": 4, "num_cross_attention_heads": 2, "cross_attention_head_dim": 4,
                "cross_attention_dim": 8, "caption_channels": 32, "sample_size": 4, "qk_norm": "rms_norm_across_heads",
                "guidance_embeds": True,
            }),
            "vae": ("diffusers", "AutoencoderDC", {
                "in_channels": 3, "latent_channels": 4, "attention_head_dim": 2,
                "encoder_block_types": ["ResBlock"] * 6,
                "decoder_block_types": ["ResBlock"] * 6, "encoder_block_out_channels": [8] * 6,
                "decoder_block_out_channels": [8] * 6, "encoder_qkv_multiscales": [[]] * 6,
                "decoder_qkv_multiscales": [[]] * 6, "encoder_layers_per_block": [1] * 6,
                "decoder_layers_per_block": [1] * 6, "downsample_block_type": "Conv",
                "upsample_block_type": "interpolate", "decoder_norm_types": "rms_norm", "decoder_act_fns": "silu",
            }),
            "text_encoder": ("transformers", "Gemma2Model", {
                "vocab_size": 99, "hidden_size": 32, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8,
                "num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": 0,
            }),
        },
        schedule("SCMScheduler"), {"use_resolution_binning": False},
    ),
    Case(
        "KandinskyV22Pipeline",
        {
            "unet": ("diffusers", "UNet2DConditionModel", {
                **UNET_CONFIG, "out_channels": 8, "encoder_hid_dim": 32, "encoder_hid_dim_type": "image_proj",
                "addition_embed_type": "image", "class_embed_type": None,
                "down_block_types": ["ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"],
                "up_block_types": ["SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"],
                "mid_block_type": "UNetMidBlock2DSimpleCrossAttn", "resnet_time_scale_shift": "scale_shift",
            }),
            "movq": MOVQ,
        },
        DDIM, {"guidance_scale": 4.0}, cfg=True,
    ),
]  # fmt: skip


class Tokenizer:
    """As many tokens as it is asked for; PROMPT_TOKENS where nothing is padded."""

    model_max_length = 77
    pad_token_id = 0
    padding_side = "right"
    added_tokens_encoder: ClassVar[dict[str, int]] = {}

    def __call__(self, prompt: Any, *, padding: Any = None, max_length: int = 0, **_: Any) -> Any:
        n = len(prompt) if isinstance(prompt, list) else 1
        length = max_length if padding == "max_length" else PROMPT_TOKENS
        ids = torch.full((n, length), 2)
        return transformers.BatchEncoding({"input_ids": ids, "attention_mask": torch.ones_like(ids)})

    def tokenize(self, text: str) -> list[str]:
        return text.split()

    def encode(self, text: str) -> list[int]:
        return [2] * 205  # the instruction of Sana, the only text that is encoded


def build(case: Case) -> Any:
    modules: dict[str, Any] = {}
    for name, (library, cls, config) in case.parts.items():
        kind = getattr(diffusers if library == "diffusers" else transformers, cls)
        torch.manual_seed(0)
        module = kind(kind.config_class(**config)) if library == "transformers" else kind(**config)
        modules[name] = module.eval()
        if name.startswith("text_encoder"):
            modules[name.replace("text_encoder", "tokenizer")] = Tokenizer()
    cls = getattr(diffusers, case.cls)
    return cls(**modules, scheduler=case.scheduler, **case.extra)


def folder(path: Path, case: Case) -> Path:
    index: dict[str, Any] = {"_class_name": case.cls}
    for name, (library, cls, config) in case.parts.items():
        index[name] = [library, cls]
        (path / name).mkdir(parents=True)
        (path / name / "config.json").write_text(json.dumps(config))
    (path / "model_index.json").write_text(json.dumps(index))
    return path


@pytest.mark.filterwarnings("ignore::FutureWarning:diffusers")  # its classes use parts of it that it deprecates
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.cls}-{case.cfg}")
def test_every_phase_takes_what_the_pipeline_of_diffusers_takes(tmp_path: Path, case: Case) -> None:
    torch.set_num_threads(1)
    pipeline = build(case)
    pipeline.set_progress_bar_config(disable=True)
    call: dict[str, Any] = {"height": SIDE, "width": SIDE, "num_inference_steps": STEPS, "output_type": "pt"}
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
        if name in ("vae", "movq"):
            module.decode = counted("decode", module.decode)
        else:
            module.forward = counted("text" if name.startswith("text") else "denoise", module.forward)
    with torch.no_grad():
        pipeline(**call)

    found = from_folder(folder(tmp_path / "pipeline", case))
    tracer = Tracer(found, "fp32")
    ours = {}
    for phase in ("text", "denoise", "decode"):
        passes = found.forwards(phase, case.cfg)
        ours[phase] = passes.calls * sum(op.flops for op in tracer.phase(phase, SIDE, SIDE, passes.samples))
    assert ours["denoise"] * STEPS == counters["denoise"] > 0
    assert ours["decode"] == counters["decode"] > 0
    assert ours["text"] == counters.get("text", 0)


def test_a_pipeline_that_begins_with_an_image_has_the_parts_of_the_one_it_is_counted_as() -> None:
    """Every class of diffusers that the rule of names lets in; a ControlNet, say, would be one part more."""
    names = [name for name in dir(diffusers) if name not in CONVENTIONS and convention(name) is not None]
    assert {"StableDiffusionXLInpaintPipeline", "StableDiffusion3Img2ImgPipeline", "QwenImageInpaintPipeline"} <= {
        *names
    }
    for name in names:
        base = next(known for known in CONVENTIONS if CONVENTIONS[known] is convention(name) and known[:-8] in name)
        theirs, ours = (inspect.signature(getattr(diffusers, cls).__init__).parameters for cls in (name, base))
        assert {*theirs} - {"requires_aesthetics_score"} == {*ours}, (name, base)
    assert convention("StableDiffusionControlNetImg2ImgPipeline") is None
    assert convention("Img2ImgPipeline") is None
