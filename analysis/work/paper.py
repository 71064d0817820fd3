"""Tables 3, 4 and 5 of arXiv 2511.17031v2 as printed: FLOPs of one forward pass of one image, 2 a multiply-add.

Known to differ from what the models compute (docs/work.md): the attention term has one of the two products, the
feed-forward width of SD 3.5 is printed as 9478, gated feed-forward layers lack a matrix. Nothing is corrected here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from farm.domain.errors import RequestError

CLIP_TOKENS: Final = 77
CONTEXT_TOKENS: Final[Mapping[str, int]] = {"flux": 512, "qwen": 12, "sd35": 333}  # text tokens beside the image's
T5_GATE: Final = 24 * 10240 * 4097  # "the T5 bias term accounts for GLU activation blocks"
QWEN_MQA: Final = 28 * 12 * 2 * (2 * 3584 * (512 - 3584))  # "multi-query attention correction", negative
MODELS: Final = ("sd2", "sd35", "flux", "qwen")


def conv(kernel: int, c_in: int, c_out: int, height: int, width: int) -> int:
    """Table 4, convolution; height and width of the output."""
    return 2 * height * width * kernel**2 * c_in * c_out


def res(kernel: int, c_in: int, c_out: int, height: int, width: int) -> int:
    """Table 4, ResNet block: its two convolutions."""
    return conv(kernel, c_in, c_out, height, width) + conv(kernel, c_out, c_out, height, width)


def tr(d_model: int, d_ff: int, d_attn: int, n_layer: int, n_ctx: int) -> int:
    """Table 4, transformer."""
    parameters = 2 * d_model * n_layer * (2 * d_attn + d_ff)
    return n_ctx * (2 * parameters + 2 * n_layer * n_ctx * d_attn)


def mmdit(d_model: int, d_ff: int, d_attn: int, n_layer: int, n_ctx: int) -> int:
    """Table 4, MMDiT: two sets of weights, each token goes through one."""
    parameters = 4 * d_model * n_layer * (2 * d_attn + d_ff)
    return n_ctx * (parameters + 2 * n_layer * n_ctx * d_attn)


def cross_tr(d_q: int, d_k: int, d_ff: int, d_attn: int, n_layer: int, n_q: int, n_k: int) -> int:
    """Table 4, cross-attention transformer."""
    parameters = 2 * n_layer * (d_q * (d_attn + d_ff) + d_k * d_attn)
    return n_q * (2 * parameters + 2 * n_layer * n_k * d_attn)


def dec(height: int, width: int) -> int:
    """Table 4, decoder; pixels."""
    h, w = height // 8, width // 8
    return (
        conv(3, 16, 512, h, w)
        + 2 * res(3, 512, 512, h, w)
        + tr(512, 256, 512, 1, h * w)
        + 3 * res(3, 512, 512, h, w)
        + conv(3, 512, 512, 2 * h, 2 * w)
        + 3 * res(3, 512, 512, 2 * h, 2 * w)
        + conv(3, 512, 512, 4 * h, 4 * w)
        + res(3, 512, 256, 4 * h, 4 * w)
        + 2 * res(3, 256, 256, 4 * h, 4 * w)
        + conv(3, 256, 256, 8 * h, 8 * w)
        + res(3, 256, 128, 8 * h, 8 * w)
        + 2 * res(3, 128, 128, 8 * h, 8 * w)
        + conv(3, 128, 3, 8 * h, 8 * w)
    )


def sd2_unet(height: int, width: int) -> int:
    """Table 3, the printed terms only: what its dots and "proj_in/out" stand for is left out."""

    def attention(channels: int, h: int, w: int) -> int:
        n = h * w
        return tr(channels, 0, channels, 1, n) + cross_tr(channels, 1024, 6 * channels, channels, 1, n, CLIP_TOKENS)

    full, half, quarter, eighth = ((height // 8 // d, width // 8 // d) for d in (1, 2, 4, 8))
    down = (
        2 * res(3, 320, 320, *full)
        + 2 * attention(320, *full)
        + conv(3, 320, 320, *half)
        + res(3, 320, 640, *half)
        + res(3, 640, 640, *half)
        + 2 * attention(640, *half)
        + conv(3, 640, 640, *quarter)
        + res(3, 640, 1280, *quarter)
        + res(3, 1280, 1280, *quarter)
        + 2 * attention(1280, *quarter)
        + conv(3, 1280, 1280, *eighth)
        + 2 * res(3, 1280, 1280, *eighth)
    )
    mid = 2 * res(3, 1280, 1280, *eighth) + attention(1280, *eighth)
    up = (
        3 * res(3, 2560, 1280, *eighth)
        + conv(3, 1280, 1280, *quarter)
        + 2 * res(3, 2560, 1280, *quarter)
        + res(3, 1920, 1280, *quarter)
        + 3 * attention(1280, *quarter)
        + conv(3, 1280, 1280, *half)
        + res(3, 1920, 640, *half)
        + res(3, 1280, 640, *half)
        + res(3, 960, 640, *half)
        + 3 * attention(640, *half)
        + conv(3, 640, 640, *full)
        + 2 * res(3, 640, 320, *full)
        + res(3, 960, 320, *full)
        + 3 * attention(320, *full)
    )
    return conv(3, 4, 320, *full) + down + mid + up + conv(3, 320, 4, *full)


def denoise_flops(model: str, width: int, height: int) -> int:
    """One denoising step, one pass (Table 5; Table 3 for sd2). RequestError for a model the paper does not have."""
    if _known(model) == "sd2":
        return sd2_unet(height, width)
    n = height * width // 16**2 + CONTEXT_TOKENS[model]
    if model == "sd35":
        return mmdit(2432, 9478, 2432, 38, n)
    if model == "qwen":
        return mmdit(3072, 12288, 3072, 60, n)
    return mmdit(3072, 12288, 3072, 19, n) + tr(3072, 12288, 3072, 38, n)


def text_flops(model: str) -> int | None:
    """All text encoders, one prompt (Table 5); None for sd2, whose encoder the paper does not give."""
    if _known(model) == "sd2":
        return None
    if model == "qwen":
        return tr(3584, 18944, 3584, 28, 12) + QWEN_MQA
    clip_l = tr(768, 3072, 768, 12, CLIP_TOKENS)
    if model == "flux":
        return clip_l + tr(4096, 10240, 4096, 24, 512) + T5_GATE
    return clip_l + tr(1280, 5120, 1280, 32, CLIP_TOKENS) + tr(4096, 10240, 4096, 24, 256) + T5_GATE


def decode_flops(model: str, width: int, height: int) -> int | None:
    """One decode (Table 5); None for sd2, whose decoder the paper does not give."""
    return None if _known(model) == "sd2" else dec(height, width)


def _known(model: str) -> str:
    if model not in MODELS:
        raise RequestError("model", model, f"a model of the paper: {', '.join(MODELS)}")
    return model
