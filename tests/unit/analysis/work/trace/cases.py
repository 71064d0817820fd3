"""Small pipelines of every kind that `farm flops FOLDER` counts, and their folders in diffusers layout."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import diffusers
import torch
import transformers

from analysis.work.trace.conventions import PROMPT_TOKENS
from analysis.work.trace.pipeline import OF_PIPELINES

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

LONG_CLIP: Part = (CLIP[0], "CLIPTextModelWithProjection", {**CLIP[2], "max_position_embeddings": 248})

CLIP_PROJECTED: Part = (CLIP[0], "CLIPTextModelWithProjection", CLIP[2])

SD3: dict[str, Any] = {
    "sample_size": 16, "patch_size": 2, "in_channels": 16, "out_channels": 16, "num_layers": 2,
    "attention_head_dim": 8, "num_attention_heads": 4, "joint_attention_dim": 32, "caption_projection_dim": 32,
    "pooled_projection_dim": 64, "pos_embed_max_size": 16,
}  # fmt: skip

GEMMA2: Part = ("transformers", "Gemma2Model", {
    "vocab_size": 99, "hidden_size": 32, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8,
    "num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": 0,
})  # fmt: skip

QWEN3: Part = ("transformers", "Qwen3Model", {
    "vocab_size": 99, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8,
})  # fmt: skip

QWEN_VL: Part = ("transformers", "Qwen2_5_VLForConditionalGeneration", {
    "text_config": {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "vocab_size": 2000,
        "rope_parameters": {"rope_type": "default", "mrope_section": [4, 2, 2], "rope_theta": 1e6},
    },
    "vision_config": {"depth": 1, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32},
})  # fmt: skip

FLUX2: dict[str, Part] = {
    "transformer": ("diffusers", "Flux2Transformer2DModel", {
        "patch_size": 1, "in_channels": 64, "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16,
        "num_attention_heads": 2, "joint_attention_dim": 96, "timestep_guidance_channels": 16,
        "axes_dims_rope": [4, 4, 4, 4], "guidance_embeds": False,
    }),
    "vae": ("diffusers", "AutoencoderKLFlux2", {**VAE[2], "latent_channels": 16}),
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
    kept: int = PROMPT_TOKENS  # tokens of a prompt that are no padding
    frames: int = 1  # of a video
    longest: int = 77  # model_max_length of the tokenizers
    sizes: dict[str, Any] = field(default_factory=dict)  # attributes that move a request to the nearest trained size


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

CASES += [
    Case(
        "Kandinsky3Pipeline",
        {
            "unet": ("diffusers", "Kandinsky3UNet", {
                "in_channels": 4, "time_embedding_dim": 4, "groups": 2, "attention_head_dim": 4, "layers_per_block": 3,
                "block_out_channels": [32, 64], "cross_attention_dim": 4, "encoder_hid_dim": 32,
            }),
            "movq": MOVQ, "text_encoder": T5,
        },
        schedule("DDPMScheduler"), {"guidance_scale": 3.0}, cfg=True,
    ),
    Case(
        "Kandinsky5T2IPipeline",
        {
            "transformer": ("diffusers", "Kandinsky5Transformer3DModel", {
                "in_visual_dim": 16, "in_text_dim": 32, "in_text_dim2": 32, "time_dim": 32, "out_visual_dim": 16,
                "patch_size": [1, 2, 2], "model_dim": 32, "ff_dim": 64, "num_text_blocks": 1, "num_visual_blocks": 2,
                "axes_dims": [4, 6, 6], "visual_cond": False, "attention_type": "regular",
            }),
            "vae": VAE16, "text_encoder": QWEN_VL, "text_encoder_2": CLIP,
        },
        FLOW, {"guidance_scale": 3.5}, cfg=True, kept=40 + PROMPT_TOKENS + 1,
        sizes={"resolutions": [(SIDE, SIDE)]},
    ),
    Case("StableDiffusionUpscalePipeline", {
            **SD, "vae": ("diffusers", "AutoencoderKL", {
                **VAE[2], "block_out_channels": [16, 16, 32], "down_block_types": ["DownEncoderBlock2D"] * 3,
                "up_block_types": ["UpDecoderBlock2D"] * 3,
            }),
            "unet": ("diffusers", "UNet2DConditionModel", {**UNET_CONFIG, "in_channels": 7, "num_class_embeds": 50}),
        }, DDIM, {"guidance_scale": 5.0, "image": torch.zeros(1, 3, SIDE // 4, SIDE // 4)},
        {"low_res_scheduler": schedule("DDPMScheduler")}, cfg=True,
    ),
    Case("StableDiffusionControlNetPipeline", {
            **SD, "controlnet": ("diffusers", "ControlNetModel", {
                **{k: v for k, v in UNET_CONFIG.items() if k not in ("out_channels", "up_block_types", "sample_size")},
                "conditioning_embedding_out_channels": [16] * 4,
            }),
        }, DDIM, {"guidance_scale": 5.0}, NO_CHECKER, cfg=True, image=True,
    ),
    Case("StableDiffusion3ControlNetPipeline", {
            "transformer": ("diffusers", "SD3Transformer2DModel", SD3),
            "controlnet": ("diffusers", "SD3ControlNetModel", SD3),
            "vae": VAE16, "text_encoder": CLIP_PROJECTED, "text_encoder_2": CLIP_PROJECTED, "text_encoder_3": T5,
        }, FLOW, {"guidance_scale": 5.0, "control_image": torch.zeros(1, 3, SIDE, SIDE)}, cfg=True,
    ),
    Case("StableDiffusion3ControlNetPipeline", {
            "transformer": ("diffusers", "SD3Transformer2DModel", SD3),
            "controlnet": ("diffusers", "SD3ControlNetModel", {
                **SD3, "joint_attention_dim": None, "use_pos_embed": False, "pos_embed_type": None,
            }),
            "vae": VAE16, "text_encoder": CLIP_PROJECTED, "text_encoder_2": CLIP_PROJECTED, "text_encoder_3": T5,
        }, FLOW, {"guidance_scale": 1.0, "control_image": torch.zeros(1, 3, SIDE, SIDE)},
    ),
    *(Case("FluxControlNetPipeline", {  # with two passes that share what it says, and of many kinds at once
            "transformer": ("diffusers", "FluxTransformer2DModel", {
                **FLUX, "pooled_projection_dim": 32, "guidance_embeds": True,
            }),
            "controlnet": ("diffusers", "FluxControlNetModel", {
                **FLUX, "pooled_projection_dim": 32, "guidance_embeds": True, **kind,
            }),
            "vae": VAE16, "text_encoder": CLIP, "text_encoder_2": T5,
        }, FLOW, {"control_image": torch.zeros(1, 3, SIDE, SIDE), **call}, cfg="true_cfg_scale" in call,
    ) for kind, call in (
        ({}, {"true_cfg_scale": 2.0, "negative_prompt": "a dog"}),
        ({"num_mode": 3}, {"control_mode": 0}),
    )),
    Case(
        "StableCascadeDecoderPipeline",
        {
            "decoder": ("diffusers", "StableCascadeUNet", {
                "in_channels": 4, "out_channels": 4, "conditioning_dim": 32, "block_out_channels": [16, 32],
                "num_attention_heads": [-1, -1], "down_num_layers_per_block": [1, 1], "up_num_layers_per_block": [1, 1],
                "down_blocks_repeat_mappers": [1, 1], "up_blocks_repeat_mappers": [3, 3], "patch_size": 2,
                "block_types_per_layer": [["SDCascadeResBlock", "SDCascadeTimestepBlock"]] * 2,
                "clip_text_pooled_in_channels": 32, "effnet_in_channels": 16, "self_attn": False, "clip_seq": 1,
                "switch_level": [False],
            }),
            "vqgan": ("wuerstchen", "PaellaVQModel", {
                "bottleneck_blocks": 1, "num_vq_embeddings": 2, "embed_dim": 16, "levels": 2,
            }),
            "text_encoder": (CLIP[0], "CLIPTextModelWithProjection", CLIP[2]),
        },
        schedule("DDPMWuerstchenScheduler"),
        {"guidance_scale": 2.0, "image_embeddings": torch.zeros(1, 16, 3, 3)}, cfg=True,
    ),
    Case(
        "Lumina2Pipeline",
        {
            "transformer": ("diffusers", "Lumina2Transformer2DModel", {
                "sample_size": 4, "patch_size": 2, "in_channels": 4, "hidden_size": 24, "num_layers": 2,
                "num_attention_heads": 3, "num_kv_heads": 1, "multiple_of": 16, "ffn_dim_multiplier": 1,
                "norm_eps": 1e-5,
                "scaling_factor": 1.0, "axes_dim_rope": [4, 2, 2], "axes_lens": [128, 128, 128], "cap_feat_dim": 32,
                "num_refiner_layers": 1,
            }),
            "vae": ("diffusers", "AutoencoderKL", {**VAE[2], "shift_factor": 0.1}), "text_encoder": GEMMA2,
        },
        FLOW, {"guidance_scale": 4.0}, cfg=True, kept=32 + PROMPT_TOKENS,
    ),
    Case(
        "ZImagePipeline",
        {
            "transformer": ("diffusers", "ZImageTransformer2DModel", {
                "all_patch_size": [2], "all_f_patch_size": [1], "in_channels": 16, "dim": 32, "n_layers": 2,
                "n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 2, "cap_feat_dim": 32, "axes_dims": [8, 4, 4],
                "axes_lens": [256, 32, 32],
            }),
            "vae": VAE16, "text_encoder": QWEN3,
        },
        FLOW, {"guidance_scale": 4.0}, cfg=True, kept=PROMPT_TOKENS + 8,
    ),
    Case(
        "HiDreamImagePipeline",
        {
            "transformer": ("diffusers", "HiDreamImageTransformer2DModel", {
                "patch_size": 2, "in_channels": 16, "out_channels": 16, "num_layers": 1, "num_single_layers": 1,
                "attention_head_dim": 8, "num_attention_heads": 4, "caption_channels": [32, 32], "text_emb_dim": 64,
                "num_routed_experts": 4, "num_activated_experts": 2, "axes_dims_rope": [4, 2, 2],
                "max_resolution": [32, 32], "llama_layers": [0, 1],
            }),
            "vae": VAE16, "text_encoder": LONG_CLIP, "text_encoder_2": LONG_CLIP, "text_encoder_3": T5,
            "text_encoder_4": ("transformers", "LlamaForCausalLM", {**QWEN3[2], "num_hidden_layers": 2}),
        },
        FLOW, {"guidance_scale": 4.0}, cfg=True, longest=512, sizes={"default_sample_size": SIDE // 8},
    ),
    Case(
        "FluxKontextPipeline",
        {
            "transformer": ("diffusers", "FluxTransformer2DModel", {
                **FLUX, "pooled_projection_dim": 32, "guidance_embeds": True,
            }),
            "vae": VAE16, "text_encoder": CLIP, "text_encoder_2": T5,
        },
        FLOW,
        {"max_area": SIDE**2, "_auto_resize": False, "true_cfg_scale": 2.0, "negative_prompt": "a dog"},
        cfg=True, image=True,
    ),
    Case("Flux2KleinPipeline", {**FLUX2, "text_encoder": ("transformers", "Qwen3ForCausalLM", QWEN3[2])},
         FLOW, {"text_encoder_out_layers": (1, 2, 2)}, cfg=True),
    Case("Flux2KleinPipeline", {**FLUX2, "text_encoder": ("transformers", "Qwen3ForCausalLM", QWEN3[2])},
         FLOW, {"text_encoder_out_layers": (1, 2, 2)}, {"is_distilled": True}),
    Case("Flux2Pipeline", {
            **FLUX2,
            "transformer": (*FLUX2["transformer"][:2], {**FLUX2["transformer"][2], "guidance_embeds": True}),
            "text_encoder": ("transformers", "Mistral3ForConditionalGeneration", {
                "text_config": {**QWEN3[2], "model_type": "mistral"}, "image_token_index": 5, "spatial_merge_size": 2,
                "vision_config": {
                    "model_type": "pixtral", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
                    "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
                },
            }),
        }, FLOW, {"text_encoder_out_layers": (1, 2, 2)}),
]  # fmt: skip

WAN_VAE: Part = ("diffusers", "AutoencoderKLWan", {
    "base_dim": 4, "z_dim": 16, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1,
    "temperal_downsample": [False, True, True],
})  # fmt: skip

WAN: Part = ("diffusers", "WanTransformer3DModel", {
    "patch_size": [1, 2, 2], "num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 16, "out_channels": 16,
    "text_dim": 32, "freq_dim": 16, "ffn_dim": 32, "num_layers": 2, "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads", "rope_max_seq_len": 64,
})  # fmt: skip

COG: dict[str, Any] = {
    "num_attention_heads": 4, "attention_head_dim": 16, "in_channels": 4, "out_channels": 4, "time_embed_dim": 2,
    "text_embed_dim": 32, "num_layers": 1, "sample_width": 16, "sample_height": 16, "sample_frames": 9,
    "patch_size": 2, "temporal_compression_ratio": 4, "max_text_seq_length": 226,
}  # fmt: skip

COG_VAE: Part = ("diffusers", "AutoencoderKLCogVideoX", {
    "in_channels": 3, "out_channels": 3, "down_block_types": ["CogVideoXDownBlock3D"] * 4, "latent_channels": 4,
    "up_block_types": ["CogVideoXUpBlock3D"] * 4, "block_out_channels": [8, 8, 8, 8], "layers_per_block": 1,
    "norm_num_groups": 2, "temporal_compression_ratio": 4,
})  # fmt: skip

VIDEOS = [
    *(Case("WanPipeline", {"transformer": WAN, "vae": WAN_VAE, "text_encoder": UMT5}, FLOW, {"guidance_scale": 5.0},
           extra, cfg=True, frames=frames) for extra, frames in (({}, 1), ({}, 13), ({"expand_timesteps": True}, 5))),
    *(Case("CogVideoXPipeline", {
            "transformer": ("diffusers", "CogVideoXTransformer3DModel", COG | more), "vae": COG_VAE,
            "text_encoder": T5,
        }, schedule("CogVideoXDDIMScheduler"), {"guidance_scale": 6.0}, cfg=True, frames=9,
    ) for more in (
        {},
        {"use_rotary_positional_embeddings": True},
        {"use_rotary_positional_embeddings": True, "patch_size_t": 2, "patch_bias": False},
    )),
    *(Case("LTXPipeline", {
            "transformer": ("diffusers", "LTXVideoTransformer3DModel", {
                "in_channels": 8, "out_channels": 8, "patch_size": 1, "patch_size_t": 1, "num_attention_heads": 4,
                "attention_head_dim": 8, "cross_attention_dim": 32, "num_layers": 1, "caption_channels": 32,
            }),
            "vae": ("diffusers", "AutoencoderKLLTXVideo", {
                "in_channels": 3, "out_channels": 3, "latent_channels": 8, "block_out_channels": [8, 8, 8, 8],
                "decoder_block_out_channels": [8, 8, 8, 8], "layers_per_block": [1] * 5,
                "decoder_layers_per_block": [1] * 5, "spatio_temporal_scaling": [True, True, True, False],
                "decoder_spatio_temporal_scaling": [True, True, True, False],
                "decoder_inject_noise": [False] * 5, "upsample_residual": [False] * 4, "upsample_factor": [1] * 4,
                "timestep_conditioning": timed, "patch_size": 4, "patch_size_t": 1, "encoder_causal": True,
                "decoder_causal": False,
            }),
            "text_encoder": T5,
        }, FLOW, {"guidance_scale": 3.0}, cfg=True, frames=17,
    ) for timed in (False, True)),
    Case("HunyuanVideoPipeline", {
            "transformer": ("diffusers", "HunyuanVideoTransformer3DModel", {
                "in_channels": 4, "out_channels": 4, "num_attention_heads": 2, "attention_head_dim": 10,
                "num_layers": 1, "num_single_layers": 1, "num_refiner_layers": 1, "patch_size": 2, "patch_size_t": 1,
                "guidance_embeds": True, "text_embed_dim": 32, "pooled_projection_dim": 32, "rope_axes_dim": [2, 4, 4],
            }),
            "vae": ("diffusers", "AutoencoderKLHunyuanVideo", {
                "in_channels": 3, "out_channels": 3, "latent_channels": 4,
                "down_block_types": ["HunyuanVideoDownBlock3D"] * 4, "up_block_types": ["HunyuanVideoUpBlock3D"] * 4,
                "block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 4,
                "spatial_compression_ratio": 8, "temporal_compression_ratio": 4,
            }),
            "text_encoder": ("transformers", "LlamaModel", {**QWEN3[2], "num_hidden_layers": 3}),
            "text_encoder_2": CLIP,
        }, FLOW, {"true_cfg_scale": 2.0, "negative_prompt": "a dog"}, cfg=True, frames=9,
    ),
]  # fmt: skip


class Tokenizer:
    """As many tokens as it is asked for, ``kept`` of them no padding; that many where nothing is padded."""

    pad_token_id = 0
    padding_side = "right"
    added_tokens_encoder: ClassVar[dict[str, int]] = {}
    pad_token = eos_token = "."

    def __init__(self, kept: int, longest: int) -> None:
        self.kept, self.model_max_length = kept, longest

    def __call__(
        self, prompt: Any = None, *, text: Any = None, padding: Any = None, max_length: int = 0, **_: Any
    ) -> Any:
        prompt = text or prompt
        n = len(prompt) if isinstance(prompt, list) else 1
        length = max_length if padding == "max_length" else self.kept
        ids, mask = torch.full((n, length), 2), torch.zeros(n, length, dtype=torch.int64)
        mask[:, : self.kept] = 1
        return transformers.BatchEncoding({"input_ids": ids, "attention_mask": mask})

    def apply_chat_template(self, messages: Any, *, tokenize: bool, **options: Any) -> Any:
        return self(messages, **options) if tokenize else "a chat"

    def tokenize(self, text: str) -> list[str]:
        return text.split()

    def encode(self, text: str) -> list[int]:
        return [2] * 205  # the instruction of Sana, the only text that is encoded


def make(library: str, cls: str, config: dict[str, Any]) -> Any:
    kind = getattr(importlib.import_module(OF_PIPELINES.get(cls, library)), cls)
    return kind(kind.config_class(**config)) if hasattr(kind, "base_model_prefix") else kind(**config)


def build(case: Case) -> Any:
    modules: dict[str, Any] = {}
    for name, (library, cls, config) in case.parts.items():
        torch.manual_seed(0)
        modules[name] = make(library, cls, config).eval()
        if name.startswith("text_encoder"):
            modules[name.replace("text_encoder", "tokenizer")] = Tokenizer(case.kept, case.longest)
    cls = getattr(diffusers, case.cls)
    return cls(**modules, scheduler=case.scheduler, **case.extra)


def folder(path: Path, case: Case) -> Path:
    index: dict[str, Any] = {"_class_name": case.cls, **{k: v for k, v in case.extra.items() if v is True}}
    for name, (library, cls, config) in case.parts.items():
        index[name] = [library, cls]
        (path / name).mkdir(parents=True)
        (path / name / "config.json").write_text(json.dumps(config))
    (path / "model_index.json").write_text(json.dumps(index))
    return path
