"""What each denoiser class of videos takes, as :mod:`analysis.work.trace.inputs` has it of images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import torch

from analysis.work.trace.request import Inputs, Request


def _wan(m: Any, r: Request) -> dict[str, Any]:
    rows, columns = r.cells
    tokens = math.prod((r.frames, rows, columns)) // math.prod(m.config.patch_size)
    return {
        "hidden_states": r.new(m.config.in_channels, r.frames, rows, columns),
        "timestep": r.new(*([tokens] if r.convention.token_times else [])),
        "encoder_hidden_states": r.new(r.convention.context, m.config.text_dim),
    }


def _cogvideox(m: Any, r: Request) -> dict[str, Any]:
    c = m.config
    rows, columns = r.cells
    frames = math.ceil(r.frames / (c.patch_size_t or 1)) * (c.patch_size_t or 1)  # filled up, and cut off again
    tokens = frames // (c.patch_size_t or 1) * (rows // c.patch_size) * (columns // c.patch_size)
    rotation = torch.empty(tokens, c.attention_head_dim, dtype=torch.float32, device="meta")
    return {
        "hidden_states": r.new(frames, c.in_channels, rows, columns),
        "encoder_hidden_states": r.new(r.convention.context, c.text_embed_dim),
        "timestep": r.new(dtype=torch.int64),
        "image_rotary_emb": (rotation, rotation) if c.use_rotary_positional_embeddings else None,
    }


def _ltx(m: Any, r: Request) -> dict[str, Any]:
    c = m.config
    rows, columns = (x // c.patch_size for x in r.cells)
    frames = r.frames // c.patch_size_t
    return {
        "hidden_states": r.new(frames * rows * columns, c.in_channels),
        "encoder_hidden_states": r.new(r.convention.context, c.caption_channels),
        "timestep": r.new(),
        "encoder_attention_mask": r.new(r.convention.context, dtype=torch.int64),
        "num_frames": frames,
        "height": rows,
        "width": columns,
        "rope_interpolation_scale": (8 / 25, 32, 32),
    }


def _hunyuan_video(m: Any, r: Request) -> dict[str, Any]:
    c = m.config
    return {
        "hidden_states": r.new(c.in_channels, r.frames, *r.cells),
        "timestep": r.new(),
        "encoder_hidden_states": r.new(r.convention.context, c.text_embed_dim),
        "encoder_attention_mask": r.new(r.convention.context, dtype=torch.int64),
        "pooled_projections": r.new(c.pooled_projection_dim),
        "guidance": r.new() if c.guidance_embeds else None,
    }


DENOISERS: Final[Mapping[str, Inputs]] = {
    "CogVideoXTransformer3DModel": _cogvideox,
    "HunyuanVideoTransformer3DModel": _hunyuan_video,
    "LTXVideoTransformer3DModel": _ltx,
    "WanTransformer3DModel": _wan,
}
