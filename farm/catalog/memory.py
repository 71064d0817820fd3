"""Does a configuration fit the memory of its GPU type? Estimated from the catalog before anything is queued.

    weights of all parts + 2.2 x largest activation + 0.6 GB of context

with every part resident, since moving parts between host and device while measuring would add the energy of the
transfers. The decoder's last block, at full resolution, is the largest activation of every model here; beside it stand
the workspaces of its convolutions and what the allocator rounds up. On an H200 peaks were 1.6 (FLUX in bf16, SDXL's
decoder in fp32), 1.7 (SD 2) and 2.2 times the activation (SD 3.5 Medium in fp16) above the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from farm import catalog
from farm.catalog import Gpu, Model
from farm.domain import Configuration, RequestError

BYTES: Final = {"fp16": 2, "bf16": 2, "fp32": 4}
CONTEXT_BYTES: Final = 0.6e9  # CUDA context, cuBLAS and cuDNN workspaces
WORKSPACE: Final = 2.2  # convolutions' workspaces, the caching allocator's rounding and fragmentation
T5: Final = ("T5EncoderModel", "UMT5EncoderModel")
MEMORY: Final = "too little device memory"
VIDEO: Final = "videos are predicted, not measured yet"
DEFAULT_ELEMENTS: Final = 1728  # per pixel, for a decoder whose configuration says neither; the larger of the two


def estimate_bytes(configuration: Configuration) -> float:
    """Device memory that a run needs at its peak, in bytes."""
    c = configuration
    return _estimate(c.model, catalog.model(c.model).digest, c.precision, c.pixels * c.batch, c.size)


def objection(configuration: Configuration) -> str | None:
    """Why the configuration cannot be run, None where it can. Gives no number of this one configuration, so that
    many can be reported as one group."""
    model, gpu = catalog.model(configuration.model), catalog.gpu(configuration.gpu)
    try:
        model.check(configuration)
    except RequestError as error:
        return error.remedy
    if model.video:
        return VIDEO
    if estimate_bytes(configuration) > gpu.memory_bytes:
        return MEMORY
    return None


@dataclass(frozen=True, slots=True)
class Need:
    """What a configuration needs, whatever it runs on: bytes, of a video its weights alone; or why no device can make
    it."""

    needed_bytes: float
    video: bool
    refused: str | None = None

    def on(self, gpu: Gpu) -> tuple[bool | None, str | None]:
        """Whether a type of device has the memory, and why not; None, and why, where that is not known."""
        if self.refused is not None:
            return False, self.refused
        if self.needed_bytes > gpu.memory_bytes:
            return False, shortage(gpu.name, [self.needed_bytes])
        if self.video:
            size = f"{self.needed_bytes / 1e9:.1f} GB"
            return None, f"weights take {size}; what the frames of a video take is not estimated"
        return True, None


def need(configuration: Configuration) -> Need:
    """What a configuration needs. Of a video what it needs beside the weights depends on how many frames its pipeline
    holds at once, which is not estimated."""
    model = catalog.model(configuration.model)
    if model.video:
        return Need(_weight_bytes(model, configuration.precision) + CONTEXT_BYTES, video=True)
    try:
        model.check(configuration)
    except RequestError as error:
        return Need(0.0, video=False, refused=error.remedy)
    return Need(estimate_bytes(configuration), video=False)


def explain(configuration: Configuration) -> str | None:
    """Why this one configuration cannot be run, with its figures; None where it can."""
    why = objection(configuration)
    return shortage(configuration.gpu, [estimate_bytes(configuration)]) if why == MEMORY else why


def shortage(gpu: str, needs: Sequence[float]) -> str:
    """How much configurations need, each an amount in bytes, of the memory that a GPU type has."""
    low, high = (f"{amount / 1e9:.1f}" for amount in (min(needs), max(needs)))
    amount = low if low == high else f"{low} to {high}"
    has = catalog.gpu(gpu).memory_bytes / 1e9
    return f"needs an estimated {amount} GB with every part on the device, {gpu} has {has:.1f} GB"


@lru_cache(maxsize=4096)
def _estimate(model: str, _digest: str, precision: str, pixels: int, size: str) -> float:
    if size == "nano":
        return 0.0  # megabytes
    entry = catalog.model(model)
    activation = _decoder_elements(entry) * pixels * _decoder_bytes(entry, precision)
    return _weight_bytes(entry, precision) + WORKSPACE * activation + CONTEXT_BYTES


def _weight_bytes(model: Model, precision: str) -> float:
    """Of all parts of a model."""
    weights = sum(model.parameters.values()) * BYTES[precision]
    if precision == "fp16":
        weights += (BYTES["fp32"] - BYTES["fp16"]) * _kept_in_single(model)
    return weights


def _kept_in_single(model: Model) -> int:
    """Parameters that transformers keeps in fp32 when the rest is fp16: the output projections of T5's feed-forward."""
    sizes = [p.config for p in model.components.values() if p.cls in T5]
    return sum(int(c["num_layers"] * c["d_ff"] * c["d_model"]) for c in sizes)


def _decoder_bytes(model: Model, precision: str) -> int:
    """Of one element in the decoder: SDXL's overflows in fp16, so that its pipeline runs it in fp32."""
    upcast = any(part.phase == "decode" and part.config.get("force_upcast") for part in model.components.values())
    return BYTES["fp32"] if upcast and precision == "fp16" else BYTES[precision]


def _decoder_elements(model: Model) -> float:
    """Live elements per output pixel at the decoder's peak.

    An image decoder holds three tensors of its second-widest level at full resolution (its input, the upsampled copy
    and the convolution's result); a video decoder the same for three frames at once, its padding of time. Traced with
    diffusers on the meta device: 768 for the AutoencoderKL of sd2, sd35 and flux, 1731 for Qwen-Image's.
    """
    for part in model.components.values():
        if part.phase != "decode":
            continue
        channels = part.config.get("block_out_channels")
        if channels:
            return 3.0 * float(channels[min(1, len(channels) - 1)])
        if "base_dim" in part.config:
            return 9.0 * float(part.config["base_dim"] * part.config.get("dim_mult", [1, 2])[1])
    return float(DEFAULT_ELEMENTS)
