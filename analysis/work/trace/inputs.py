"""What each denoiser class takes: tensors of the right shape on the meta device.

A new class is a function here, or in videos.py, and a line in DENOISERS.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import torch

from analysis.work.trace import videos
from analysis.work.trace.request import Inputs, Request
from farm.domain.errors import RequestError


def denoiser_inputs(denoiser: torch.nn.Module, request: Request) -> dict[str, Any]:
    """Make the keyword arguments of one forward pass. RequestError for a class that is not known here."""
    name = type(denoiser).__name__
    if name not in DENOISERS:
        raise RequestError("denoiser", name, f"one of {', '.join(sorted(DENOISERS))}")
    return DENOISERS[name](denoiser, request)


def _unet(m: Any, r: Request) -> dict[str, Any]:
    c = m.config
    inputs: dict[str, Any] = {"sample": r.latent(c.in_channels), "timestep": r.new(dtype=torch.int64)}
    if c.time_cond_proj_dim:  # a consistency model: guidance is embedded with the time
        inputs["timestep_cond"] = r.new(c.time_cond_proj_dim)
    if c.num_class_embeds:  # the upscaler is told how much noise was added to the image that is given
        inputs["class_labels"] = r.new(dtype=torch.int64)
    if c.encoder_hid_dim_type == "image_proj":  # Kandinsky 2.2: an image embedding stands for the text
        embeds = {"image_embeds": r.new(c.encoder_hid_dim)}
        return inputs | {"encoder_hidden_states": None, "added_cond_kwargs": embeds}
    attended = c.cross_attention_dim  # one number, or one a block: all blocks attend to the same text
    width = c.encoder_hid_dim or (attended if isinstance(attended, int) else attended[0])
    inputs["encoder_hidden_states"] = r.new(r.convention.context, width)
    if c.addition_embed_type == "text_time":  # SDXL: pooled text and six numbers on sizes
        sizes = 6
        pooled = c.projection_class_embeddings_input_dim - sizes * c.addition_time_embed_dim
        inputs["added_cond_kwargs"] = {"text_embeds": r.new(pooled), "time_ids": r.new(sizes)}
    return inputs


def _sd3(m: Any, r: Request) -> dict[str, Any]:
    return {
        "hidden_states": r.latent(m.config.in_channels),
        "encoder_hidden_states": r.new(r.convention.context, m.config.joint_attention_dim),
        "pooled_projections": r.new(m.config.pooled_projection_dim),
        "timestep": r.new(),
    }


def _flux(m: Any, r: Request) -> dict[str, Any]:
    rows, columns = (x // 2 for x in r.cells)
    reference = r.reference_cells
    text, image = r.convention.context, rows * columns + (reference[0] // 2) * (reference[1] // 2)
    return {
        "hidden_states": r.new(image, m.config.in_channels),
        "encoder_hidden_states": r.new(text, m.config.joint_attention_dim),
        "pooled_projections": r.new(m.config.pooled_projection_dim),
        "timestep": r.new(),
        "img_ids": torch.empty(image, 3, dtype=r.dtype, device="meta"),
        "txt_ids": torch.empty(text, 3, dtype=r.dtype, device="meta"),
        "guidance": r.new(dtype=torch.float32) if m.config.guidance_embeds else None,
    }


def _qwen(m: Any, r: Request) -> dict[str, Any]:
    shapes = [(1, rows // m.config.patch_size, columns // m.config.patch_size) for rows, columns in r.latents]
    return {
        "hidden_states": r.new(sum(map(math.prod, shapes)), m.config.in_channels),
        "encoder_hidden_states": r.new(r.convention.context + r.image_tokens, m.config.joint_attention_dim),
        "timestep": r.new(),
        "img_shapes": [shapes] * r.batch,
    }


def _pixart(m: Any, r: Request) -> dict[str, Any]:
    sized = bool(m.use_additional_conditions)  # PixArt-Alpha at 1024 pixels is told the size of the image
    return {
        "hidden_states": r.latent(m.config.in_channels),
        "encoder_hidden_states": r.new(r.convention.context, m.config.caption_channels),
        "encoder_attention_mask": r.new(r.convention.context, dtype=torch.int64),
        "timestep": r.new(),
        "added_cond_kwargs": {
            "resolution": r.new(2) if sized else None,
            "aspect_ratio": r.new(1) if sized else None,
        },
    }


def _hunyuan(m: Any, r: Request) -> dict[str, Any]:
    c = m.config
    rows, columns = (x // c.patch_size for x in r.cells)
    rotation = torch.empty(rows * columns, c.attention_head_dim, device="meta", dtype=torch.float32)
    told = c.use_style_cond_and_image_meta_size  # up to version 1.1
    return {
        "hidden_states": r.latent(c.in_channels),
        "timestep": r.new(),
        "encoder_hidden_states": r.new(c.text_len, c.cross_attention_dim),
        "text_embedding_mask": r.new(c.text_len, dtype=torch.int64),
        "encoder_hidden_states_t5": r.new(c.text_len_t5, c.cross_attention_dim_t5),
        "text_embedding_mask_t5": r.new(c.text_len_t5, dtype=torch.int64),
        "image_meta_size": r.new(6) if told else None,
        "style": r.new(dtype=torch.int64) if told else None,
        "image_rotary_emb": (rotation, rotation),
    }


def _sana(m: Any, r: Request) -> dict[str, Any]:
    return {
        "guidance": r.new() if m.config.guidance_embeds else None,
        "hidden_states": r.latent(m.config.in_channels),
        "encoder_hidden_states": r.new(r.convention.context, m.config.caption_channels),
        "encoder_attention_mask": r.new(r.convention.context, dtype=torch.int64),
        "timestep": r.new(),
    }


def _aura_flow(m: Any, r: Request) -> dict[str, Any]:
    return {
        "hidden_states": r.latent(m.config.in_channels),
        "encoder_hidden_states": r.new(r.convention.context, m.config.joint_attention_dim),
        "timestep": r.new(),
    }


def _chroma(m: Any, r: Request) -> dict[str, Any]:
    rows, columns = (x // 2 for x in r.cells)
    text, image = r.convention.context, rows * columns
    return {
        "hidden_states": r.new(image, m.config.in_channels),
        "encoder_hidden_states": r.new(text, m.config.joint_attention_dim),
        "timestep": r.new(),
        "img_ids": torch.empty(image, 3, dtype=r.dtype, device="meta"),
        "txt_ids": torch.empty(text, 3, dtype=r.dtype, device="meta"),
        "attention_mask": r.new(text + image),
    }


def _cogview4(m: Any, r: Request) -> dict[str, Any]:
    pair = r.new(2)
    return {
        "hidden_states": r.latent(m.config.in_channels),
        "encoder_hidden_states": r.new(r.convention.context, m.config.text_embed_dim),
        "timestep": r.new(),
        "original_size": pair,
        "target_size": pair,
        "crop_coords": pair,
    }


def _kandinsky3(m: Any, r: Request) -> dict[str, Any]:
    return {
        "sample": r.latent(m.config.in_channels),
        "timestep": r.new(dtype=torch.int64),
        "encoder_hidden_states": r.new(r.convention.context, m.config.encoder_hid_dim),
        "encoder_attention_mask": r.new(r.convention.context, dtype=torch.int64),
    }


def _kandinsky5(m: Any, r: Request) -> dict[str, Any]:
    c = m.config
    rows, columns = r.cells
    channels = c.in_visual_dim * (2 if c.visual_cond else 1) + (1 if c.visual_cond else 0)
    positions = (1, rows // c.patch_size[1], columns // c.patch_size[2])
    return {
        "hidden_states": r.new(1, rows, columns, channels),
        "encoder_hidden_states": r.new(r.convention.context, c.in_text_dim),
        "pooled_projections": r.new(c.in_text_dim2),
        "timestep": r.new(),
        "visual_rope_pos": [torch.arange(n, device="meta") for n in positions],
        "text_rope_pos": torch.arange(r.convention.context, device="meta"),
    }


def _cascade(m: Any, r: Request) -> dict[str, Any]:
    return {
        "sample": r.latent(m.config.in_channels),
        "timestep_ratio": r.new(),
        "clip_text_pooled": r.new(1, m.config.clip_text_pooled_in_channels),
        "effnet": r.new(m.config.effnet_in_channels, *r.prior_cells),
    }


def _lumina2(m: Any, r: Request) -> dict[str, Any]:
    return {
        "hidden_states": r.latent(m.config.in_channels),
        "timestep": r.new(),
        "encoder_hidden_states": r.new(r.convention.context, m.config.cap_feat_dim),
        "encoder_attention_mask": r.new(r.convention.context, dtype=torch.int64),
    }


def _z_image(m: Any, r: Request) -> dict[str, Any]:
    rows, columns = r.cells
    image = torch.empty(m.config.in_channels, 1, rows, columns, dtype=r.dtype, device="meta")
    text = torch.empty(r.convention.context, m.config.cap_feat_dim, dtype=r.dtype, device="meta")
    return {"x": [image] * r.batch, "t": r.new(), "cap_feats": [text] * r.batch}


def _hidream(m: Any, r: Request) -> dict[str, Any]:
    llama, t5 = m.config.caption_channels[-1], m.config.caption_channels[0]
    layers = max(m.config.llama_layers) + 1
    states = torch.empty(layers, r.batch, r.convention.context, llama, dtype=r.dtype, device="meta")
    return {
        "hidden_states": r.latent(m.config.in_channels),
        "timesteps": r.new(),
        "encoder_hidden_states_t5": r.new(r.convention.context, t5),
        "encoder_hidden_states_llama3": states,
        "pooled_embeds": r.new(m.config.text_emb_dim),
    }


def _flux2(m: Any, r: Request) -> dict[str, Any]:
    rows, columns = (x // 2 for x in r.cells)
    text, axes = r.convention.context, len(m.config.axes_dims_rope)
    return {
        "hidden_states": r.new(rows * columns, m.config.in_channels),
        "encoder_hidden_states": r.new(text, m.config.joint_attention_dim),
        "timestep": r.new(),
        "img_ids": r.new(rows * columns, axes, dtype=torch.int64),
        "txt_ids": r.new(text, axes, dtype=torch.int64),
        "guidance": r.new(dtype=torch.float32) if m.config.guidance_embeds else None,
    }


DENOISERS: Final[Mapping[str, Inputs]] = {
    "AuraFlowTransformer2DModel": _aura_flow,
    "ChromaTransformer2DModel": _chroma,
    "CogView4Transformer2DModel": _cogview4,
    "Flux2Transformer2DModel": _flux2,
    "FluxTransformer2DModel": _flux,
    "HiDreamImageTransformer2DModel": _hidream,
    "HunyuanDiT2DModel": _hunyuan,
    "Kandinsky3UNet": _kandinsky3,
    "Kandinsky5Transformer3DModel": _kandinsky5,
    "Lumina2Transformer2DModel": _lumina2,
    "PixArtTransformer2DModel": _pixart,
    "QwenImageTransformer2DModel": _qwen,
    "SD3Transformer2DModel": _sd3,
    "SanaTransformer2DModel": _sana,
    "StableCascadeUNet": _cascade,
    "UNet2DConditionModel": _unet,
    "ZImageTransformer2DModel": _z_image,
    **videos.DENOISERS,
}
