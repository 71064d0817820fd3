"""How each decoder class is called. No torch here: a folder is checked before it is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from farm.domain.errors import RequestError


@dataclass(frozen=True, slots=True)
class Decoder:
    """How a decoder class is called."""

    argument: str  # of decode
    channels: str  # configuration key of the latent's channels
    cell: Callable[[Any], int]  # configuration -> pixels a latent cell is wide
    frames: Callable[[Any], int] | None = None  # of a video decoder: configuration -> frames to one of the latent
    timed: bool = False  # takes the time of the latent where its configuration says timestep_conditioning
    upcast: bool = False  # whether its class asks for fp32 where the configuration does not say
    options: Mapping[str, Any] = field(default_factory=dict)  # further keywords of decode, as pipelines give them


DECODERS: Final[Mapping[str, Decoder]] = {
    "AutoencoderKL": Decoder("z", "latent_channels", lambda c: 2 ** (len(c.block_out_channels) - 1), upcast=True),
    "AutoencoderKLFlux2": Decoder("z", "latent_channels", lambda c: 2 ** (len(c.block_out_channels) - 1)),
    "PaellaVQModel": Decoder("h", "latent_channels", lambda c: c.up_down_scale_factor * 2 ** (c.levels - 1)),
    "AutoencoderKLQwenImage": Decoder("z", "z_dim", lambda c: 2 ** len(c.temperal_downsample), frames=lambda c: 4),
    "AutoencoderKLWan": Decoder(
        "z", "z_dim", lambda c: c.scale_factor_spatial, frames=lambda c: int(c.scale_factor_temporal)
    ),
    "AutoencoderKLCogVideoX": Decoder(
        "z",
        "latent_channels",
        lambda c: 2 ** (len(c.block_out_channels) - 1),
        frames=lambda c: int(c.temporal_compression_ratio),
    ),
    "AutoencoderKLLTXVideo": Decoder(
        "z",
        "latent_channels",
        lambda c: c.patch_size * 2 ** sum(c.spatio_temporal_scaling),
        frames=lambda c: int(c.patch_size_t * 2 ** sum(c.spatio_temporal_scaling)),
        timed=True,
    ),
    "AutoencoderKLHunyuanVideo": Decoder(
        "z",
        "latent_channels",
        lambda c: c.spatial_compression_ratio,
        frames=lambda c: int(c.temporal_compression_ratio),
    ),
    "AutoencoderDC": Decoder("z", "latent_channels", lambda c: 2 ** (len(c.decoder_block_out_channels) - 1)),
    "AutoencoderTiny": Decoder(
        "x", "latent_channels", lambda c: c.upsampling_scaling_factor ** (len(c.decoder_block_out_channels) - 1)
    ),
    "VQModel": Decoder(
        "h",
        "latent_channels",
        lambda c: 2 ** (len(c.block_out_channels) - 1),
        options={"force_not_quantize": True},
    ),
}


def decoder(cls: str) -> Decoder:
    """By the name of the class; RequestError for one that is not known here."""
    if cls not in DECODERS:
        raise RequestError("decoder", cls, f"one of {', '.join(sorted(DECODERS))}")
    return DECODERS[cls]
