"""What each denoiser class takes: tensors of the right shape on the meta device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch

from analysis.work.trace.conventions import Convention
from farm.domain.errors import RequestError


@dataclass(frozen=True, slots=True)
class Request:
    """One forward pass. ``batch`` counts samples of the forward, so batched CFG doubles it."""

    width: int
    height: int
    batch: int
    dtype: torch.dtype
    convention: Convention
    down: int  # pixels a latent cell is wide

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the latent."""
        return self.height // self.down, self.width // self.down

    def new(self, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        return torch.empty(self.batch, *shape, dtype=dtype or self.dtype, device="meta")

    def latent(self, channels: int) -> torch.Tensor:
        return self.new(channels, *self.cells)


Inputs = Callable[[torch.nn.Module, Request], dict[str, Any]]


def denoiser_inputs(denoiser: torch.nn.Module, request: Request) -> dict[str, Any]:
    """Keyword arguments of one forward. RequestError for a class that is not known here."""
    name = type(denoiser).__name__
    if name not in DENOISERS:
        raise RequestError("denoiser", name, f"one of {', '.join(sorted(DENOISERS))}")
    return DENOISERS[name](denoiser, request)


def _unet(m: Any, r: Request) -> dict[str, Any]:
    c = m.config
    inputs: dict[str, Any] = {"sample": r.latent(c.in_channels), "timestep": r.new(dtype=torch.int64)}
    if c.time_cond_proj_dim:  # a consistency model: guidance is embedded with the time
        inputs["timestep_cond"] = r.new(c.time_cond_proj_dim)
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
    text = r.convention.context
    return {
        "hidden_states": r.new(rows * columns, m.config.in_channels),
        "encoder_hidden_states": r.new(text, m.config.joint_attention_dim),
        "pooled_projections": r.new(m.config.pooled_projection_dim),
        "timestep": r.new(),
        "img_ids": torch.empty(rows * columns, 3, dtype=r.dtype, device="meta"),
        "txt_ids": torch.empty(text, 3, dtype=r.dtype, device="meta"),
        "guidance": r.new(dtype=torch.float32) if m.config.guidance_embeds else None,
    }


def _qwen(m: Any, r: Request) -> dict[str, Any]:
    rows, columns = (x // m.config.patch_size for x in r.cells)
    return {
        "hidden_states": r.new(rows * columns, m.config.in_channels),
        "encoder_hidden_states": r.new(r.convention.context, m.config.joint_attention_dim),
        "timestep": r.new(),
        "img_shapes": [[(1, rows, columns)]] * r.batch,
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


DENOISERS: Final[Mapping[str, Inputs]] = {
    "AuraFlowTransformer2DModel": _aura_flow,
    "ChromaTransformer2DModel": _chroma,
    "CogView4Transformer2DModel": _cogview4,
    "UNet2DConditionModel": _unet,
    "SD3Transformer2DModel": _sd3,
    "FluxTransformer2DModel": _flux,
    "QwenImageTransformer2DModel": _qwen,
    "PixArtTransformer2DModel": _pixart,
    "HunyuanDiT2DModel": _hunyuan,
    "SanaTransformer2DModel": _sana,
}
