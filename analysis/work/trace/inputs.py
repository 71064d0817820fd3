"""What each denoiser class takes: tensors of the right shape on the meta device."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch

from analysis.work.trace.conventions import Convention
from farm.domain.errors import RequestError

PRIOR_CELL: Final = 42.67  # pixels that a latent of Stable Cascade's prior is wide: its resolution_multiple
MEGAPIXEL: Final = 1024 * 1024


def of_area(pixels: int, ratio: float) -> tuple[int, int]:
    """Width and height in multiples of 32, as Qwen-Image-Edit resizes the image that it is given."""
    width = math.sqrt(pixels * ratio)
    return round(width / 32) * 32, round(width / ratio / 32) * 32


@dataclass(frozen=True, slots=True)
class Request:
    """One forward pass. ``batch`` counts samples of the forward, so batched CFG doubles it."""

    width: int
    height: int
    batch: int
    dtype: torch.dtype
    convention: Convention
    down: int  # pixels a latent cell is wide
    frames: int = 1  # of the latent
    seen_tokens: int = 0  # of an image that the text encoder sees

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the latent."""
        scale = self.convention.latent_scale
        if scale:
            rows, columns = self.prior_cells
            return int(rows * scale), int(columns * scale)
        return self.height // self.down, self.width // self.down

    @property
    def prior_cells(self) -> tuple[int, int]:
        """Rows and columns of the latent that Stable Cascade's prior makes."""
        return math.ceil(self.height / PRIOR_CELL), math.ceil(self.width / PRIOR_CELL)

    @property
    def reference_cells(self) -> tuple[int, int]:
        """Rows and columns of the latent of the image that is attended to beside the one that is made; 0 for none."""
        if not self.convention.reference:
            return 0, 0
        if self.convention.reference == "same":
            return self.cells
        width, height = of_area(MEGAPIXEL, self.width / self.height)
        return height // self.down, width // self.down

    @property
    def latents(self) -> list[tuple[int, int]]:
        """Rows and columns of the latent of each image that is attended to."""
        return [cells for cells in (self.cells, self.reference_cells) if all(cells)]

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height of that image as the text encoder sees it."""
        return of_area(self.convention.shown_pixels, self.width / self.height)

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
        "encoder_hidden_states": r.new(r.convention.context + r.seen_tokens, m.config.joint_attention_dim),
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


def control_inputs(control: Any, r: Request, inputs: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of a ControlNet's forward beside a denoiser that takes ``inputs``."""
    c = control.config
    if type(control).__name__ == "ControlNetModel":
        return {**inputs, "controlnet_cond": r.new(c.conditioning_channels, r.height, r.width)}
    if type(control).__name__ == "SD3ControlNetModel":
        text = inputs["encoder_hidden_states"] if c.joint_attention_dim is not None else None
        cond = r.latent(c.in_channels + c.extra_conditioning_channels)
        return {**inputs, "encoder_hidden_states": text, "controlnet_cond": cond}
    hint = c.conditioning_embedding_channels is not None  # sees the image itself
    return {
        **inputs,
        "controlnet_cond": r.new(3, r.height, r.width) if hint else inputs["hidden_states"],
        "controlnet_mode": r.new(1, dtype=torch.int64) if c.num_mode is not None else None,
        "guidance": r.new(dtype=torch.float32) if c.guidance_embeds else None,
    }


def controlled(control: Any, output: Any) -> dict[str, Any]:
    """What the output of a ControlNet adds to the keyword arguments of the denoiser."""
    if type(control).__name__ == "ControlNetModel":
        return {
            "down_block_additional_residuals": output.down_block_res_samples,
            "mid_block_additional_residual": output.mid_block_res_sample,
        }
    if type(control).__name__ == "SD3ControlNetModel":
        return {"block_controlnet_hidden_states": output.controlnet_block_samples}
    return {
        "controlnet_block_samples": output.controlnet_block_samples,
        "controlnet_single_block_samples": output.controlnet_single_block_samples,
        "controlnet_blocks_repeat": control.input_hint_block is not None,
    }


DENOISERS: Final[Mapping[str, Inputs]] = {
    "AuraFlowTransformer2DModel": _aura_flow,
    "ChromaTransformer2DModel": _chroma,
    "CogView4Transformer2DModel": _cogview4,
    "Flux2Transformer2DModel": _flux2,
    "HiDreamImageTransformer2DModel": _hidream,
    "Kandinsky3UNet": _kandinsky3,
    "Kandinsky5Transformer3DModel": _kandinsky5,
    "Lumina2Transformer2DModel": _lumina2,
    "StableCascadeUNet": _cascade,
    "CogVideoXTransformer3DModel": _cogvideox,
    "HunyuanVideoTransformer3DModel": _hunyuan_video,
    "LTXVideoTransformer3DModel": _ltx,
    "WanTransformer3DModel": _wan,
    "ZImageTransformer2DModel": _z_image,
    "UNet2DConditionModel": _unet,
    "SD3Transformer2DModel": _sd3,
    "FluxTransformer2DModel": _flux,
    "QwenImageTransformer2DModel": _qwen,
    "PixArtTransformer2DModel": _pixart,
    "HunyuanDiT2DModel": _hunyuan,
    "SanaTransformer2DModel": _sana,
}
