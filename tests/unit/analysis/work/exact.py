"""Closed forms of what the four models of the paper compute: full attention, every matrix product and convolution.

FLOPs of one prompt and one image, 2 a multiply-add; normalisation, softmax and activations are not counted, as in the
trace (analysis.work.trace), with which a test compares them. Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from farm.domain.errors import RequestError

CLIP_TOKENS: Final = 77
SINUSOIDS: Final = 256  # width of the sinusoidal time embedding of the transformers
QWEN_ENCODED_TOKENS: Final = 34 + 12 + 5  # template, a typical prompt, suffix; the denoiser sees the last two
QWEN_CONTEXT_TOKENS: Final = 12 + 5


def linear(tokens: int, *widths: int) -> int:
    """A chain of dense layers of these widths."""
    return sum(2 * tokens * a * b for a, b in pairwise(widths))


def attention(queries: int, keys: int, width: int) -> int:
    """Q K^T and the product with V; width = heads x head width."""
    return 4 * queries * keys * width


def convolution(kernel: int, c_in: int, c_out: int, cells: int) -> int:
    """``cells``: output positions; ``kernel``: taps in all, 9 for 3 x 3."""
    return 2 * cells * kernel * c_in * c_out


# --- text encoders


def clip_text(width: int, layers: int, projection: int = 0) -> int:
    """A CLIP text encoder with a feed-forward width of four times its own; ``projection`` of the pooled token."""
    n = CLIP_TOKENS
    layer = 4 * linear(n, width, width) + linear(n, width, 4 * width, width) + attention(n, n, width)
    return layers * layer + (linear(1, width, projection) if projection else 0)


def t5_text(tokens: int) -> int:
    """The encoder of T5 v1.1 XXL: 24 layers, gated feed-forward."""
    width, hidden, layers = 4096, 10240, 24
    layer = 4 * linear(tokens, width, width) + 3 * linear(tokens, width, hidden) + attention(tokens, tokens, width)
    return layers * layer


def qwen_text(tokens: int = QWEN_ENCODED_TOKENS) -> int:
    """The language model of Qwen2.5-VL-7B, four key heads, and the output head, which the pipeline runs too."""
    width, keys, hidden, layers, vocabulary = 3584, 512, 18944, 28, 152064
    layer = 2 * linear(tokens, width, width) + 2 * linear(tokens, width, keys) + 3 * linear(tokens, width, hidden)
    return layers * (layer + attention(tokens, tokens, width)) + linear(tokens, width, vocabulary)


# --- denoisers, one pass


def _modulation(width: int, vectors: int) -> int:
    return linear(1, width, vectors * width)


def _tokens(n: int, width: int) -> int:
    """What a layer does to every token on its own: q, k, v, output, feed-forward of four times the width."""
    return 4 * linear(n, width, width) + linear(n, width, 4 * width, width)


def flux_denoise(width: int, height: int) -> int:
    """FLUX.1-dev: 19 layers with separate weights for text and image, 38 with shared ones."""
    d, text, image = 3072, 512, width * height // 256
    n = text + image
    embed = linear(image, 64, d) + linear(text, 4096, d) + 2 * linear(1, SINUSOIDS, d, d) + linear(1, 768, d, d)
    double = 2 * _modulation(d, 6) + _tokens(n, d) + attention(n, n, d)
    single = _modulation(d, 3) + 3 * linear(n, d, d) + linear(n, d, 4 * d) + linear(n, 5 * d, d) + attention(n, n, d)
    return embed + 19 * double + 38 * single + _modulation(d, 2) + linear(image, d, 64)


def sd35_denoise(width: int, height: int) -> int:
    """Stable Diffusion 3.5 Large: 38 layers; the last drops the text after its keys and values."""
    d, text, image, layers = 2432, 333, width * height // 256, 38
    n = text + image
    embed = linear(image, 64, d) + linear(text, 4096, d) + linear(1, SINUSOIDS, d, d) + linear(1, 2048, d, d)
    layer = 2 * _modulation(d, 6) + _tokens(n, d) + attention(n, n, d)
    dropped = linear(text, d, d) + linear(text, d, 4 * d, d) + _modulation(d, 4)
    return embed + layers * layer - dropped + _modulation(d, 2) + linear(image, d, 64)


def qwen_denoise(width: int, height: int, context: int = QWEN_CONTEXT_TOKENS) -> int:
    """Qwen-Image: 60 layers; ``context`` text tokens."""
    d, image = 3072, width * height // 256
    n = context + image
    embed = linear(image, 64, d) + linear(context, 3584, d) + linear(1, SINUSOIDS, d, d)
    layer = 2 * _modulation(d, 6) + _tokens(n, d) + attention(n, n, d)
    return embed + 60 * layer + _modulation(d, 2) + linear(image, d, 64)


def sd2_denoise(width: int, height: int) -> int:
    """Stable Diffusion 2: the U-Net, four levels, the first three with attention."""
    channels = (320, 640, 1280, 1280)
    cells = [-(-width // (8 * 2**i)) * -(-height // (8 * 2**i)) for i in range(4)]
    time = 1280

    def block(c_in: int, level: int) -> int:
        """ResNet block with its time embedding and, where the channels change, its shortcut."""
        c, n = channels[level], cells[level]
        shortcut = convolution(1, c_in, c, n) if c_in != c else 0
        return convolution(9, c_in, c, n) + convolution(9, c, c, n) + linear(1, time, c) + shortcut

    def transformer(level: int) -> int:
        c, n, text = channels[level], cells[level], CLIP_TOKENS
        in_out = 2 * linear(n, c, c)
        own = 4 * linear(n, c, c) + attention(n, n, c)
        cross = 2 * linear(n, c, c) + 2 * linear(text, 1024, c) + attention(n, text, c)
        return in_out + own + cross + linear(n, c, 8 * c) + linear(n, 4 * c, c)

    def resample(c: int, level: int) -> int:
        return convolution(9, c, c, cells[level])

    skips = [channels[0]]
    total = linear(1, channels[0], time, time) + convolution(9, 4, channels[0], cells[0])
    for level, c in enumerate(channels):
        for _ in range(2):
            total += block(skips[-1], level) + (transformer(level) if level < 3 else 0)
            skips.append(c)
        if level < 3:
            total += resample(c, level + 1)
            skips.append(c)
    total += 2 * block(channels[3], 3) + transformer(3)
    current = channels[3]
    for level in (3, 2, 1, 0):
        for _ in range(3):
            total += block(current + skips.pop(), level) + (transformer(level) if level < 3 else 0)
            current = channels[level]
        if level:
            total += resample(current, level - 1)
    return total + convolution(9, channels[0], 4, cells[0])


# --- decoders


def _blocks(taps: int, channels: Iterable[int], cells: int) -> int:
    """ResNet blocks one after another, each from one number of channels to the next, with shortcuts."""
    return sum(
        convolution(taps, a, b, cells) + convolution(taps, b, b, cells) + (convolution(1, a, b, cells) if a != b else 0)
        for a, b in pairwise(channels)
    )


def kl_decode(width: int, height: int, latent_channels: int, quantised: bool = False) -> int:
    """AutoencoderKL, 128 to 512 channels; ``quantised``: a 1 x 1 convolution comes first (Stable Diffusion 2)."""
    n = (width // 8) * (height // 8)
    total = convolution(1, latent_channels, latent_channels, n) if quantised else 0
    total += convolution(9, latent_channels, 512, n) + _blocks(9, (512, 512, 512), n)
    total += 4 * linear(n, 512, 512) + attention(n, n, 512)
    c_in = 512
    for level, c in enumerate((512, 512, 256, 128)):
        cells = n * 4**level
        total += _blocks(9, (c_in, c, c, c), cells)
        total += convolution(9, c, c, 4 * cells) if level < 3 else 0
        c_in = c
    return total + convolution(9, 128, 3, 64 * n)


def qwen_decode(width: int, height: int) -> int:
    """AutoencoderKLQwenImage: 3 x 3 x 3 causal convolutions over the one frame; its upsampling halves the channels."""
    n = (width // 8) * (height // 8)
    total = convolution(1, 16, 16, n) + convolution(27, 16, 384, n) + _blocks(27, (384, 384, 384), n)
    total += convolution(1, 384, 3 * 384, n) + convolution(1, 384, 384, n) + attention(n, n, 384)
    for level, (c_in, c) in enumerate(((384, 384), (192, 384), (192, 192), (96, 96))):
        cells = n * 4**level
        total += _blocks(27, (c_in, c, c, c), cells)
        total += convolution(9, c, c // 2, 4 * cells) if level < 3 else 0
    return total + convolution(27, 96, 3, 64 * n)


# --- by model


@dataclass(frozen=True, slots=True)
class _Forms:
    text: Callable[[], int]
    denoise: Callable[[int, int], int]
    decode: Callable[[int, int], int]


_FORMS: Final = {
    "sd2": _Forms(lambda: clip_text(1024, 23), sd2_denoise, lambda w, h: kl_decode(w, h, 4, quantised=True)),
    "sd35": _Forms(
        lambda: clip_text(768, 12, 768) + clip_text(1280, 32, 1280) + t5_text(256),
        sd35_denoise,
        lambda w, h: kl_decode(w, h, 16),
    ),
    "flux": _Forms(lambda: clip_text(768, 12) + t5_text(512), flux_denoise, lambda w, h: kl_decode(w, h, 16)),
    "qwen": _Forms(qwen_text, qwen_denoise, qwen_decode),
}
MODELS: Final = tuple(_FORMS)


def text_flops(model: str) -> int:
    """All text encoders, one prompt. RequestError for a model without closed forms."""
    return _forms(model).text()


def denoise_flops(model: str, width: int, height: int) -> int:
    """One forward of the denoiser, one image, one pass; pixels."""
    return _forms(model).denoise(width, height)


def decode_flops(model: str, width: int, height: int) -> int:
    """One decode; pixels."""
    return _forms(model).decode(width, height)


def _forms(model: str) -> _Forms:
    if model not in _FORMS:
        raise RequestError("model", model, f"a model with closed forms: {', '.join(_FORMS)}")
    return _FORMS[model]
