"""Which images a model can make, and what guidance makes its denoiser do: said here once, for everybody who asks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from farm.domain.errors import RequestError

# Raised when the same entries come to mean other work: jobs from before are then refused until they are stamped anew.
VERSION: Final = 1
_USUAL_PIXELS_A_LATENT: Final = 8  # pixels of a side that one latent stands for, where the decoder does not say
# Denoisers that look positions up in a table of fixed size: its pos_embed_max_size -> patches of a side it covers.
_POSITIONS: Final[Mapping[str, Callable[[int], int]]] = {
    "SD3Transformer2DModel": int,
    "AuraFlowTransformer2DModel": math.isqrt,
}


@dataclass(frozen=True, slots=True)
class Forwards:
    """The forward passes that the denoiser makes in one denoising step."""

    calls: int
    samples: int  # in each call

    @property
    def total(self) -> int:
        """How many samples go through the denoiser in one step."""
        return self.calls * self.samples


@dataclass(frozen=True, slots=True)
class Rules:
    """The sizes, steps and guidance that one model takes."""

    model: str  # its name, for refusals
    guidance: str  # "batch": one forward of twice the batch; "two_pass": two forwards; "none": it has no guidance
    multiple: int  # width and height are multiples of it
    largest_side: int | None  # pixels; None where every size is taken
    least_steps: int = 1

    def check_image(self, width: int, height: int, cfg: bool) -> None:
        """Raise RequestError, naming the field, for a size or guidance that the model does not take."""
        for axis, pixels in (("width", width), ("height", height)):
            if pixels <= 0 or pixels % self.multiple:
                raise RequestError(axis, pixels, f"{self.model} takes multiples of {self.multiple}")
            if self.largest_side is not None and pixels > self.largest_side:
                raise RequestError(axis, pixels, f"{self.model} takes at most {self.largest_side} pixels")
        check_guidance(self.model, self.guidance, cfg)

    def check_steps(self, steps: int) -> None:
        """Raise RequestError for fewer denoising steps than the model's schedule can be made of."""
        if steps < self.least_steps:
            raise RequestError("steps", steps, f"{self.model} takes at least {self.least_steps}")


def check_guidance(model: str, guidance: str, cfg: bool) -> None:
    """Raise RequestError where guidance is asked for and ``model`` has none; ``guidance`` as in Rules."""
    if cfg and guidance == "none":
        raise RequestError("cfg", cfg, f"{model} has no classifier-free guidance")


def forwards(model: str, guidance: str, cfg: bool, batch: int) -> Forwards:
    """What a step of ``batch`` images asks of the denoiser; RequestError where ``model`` lacks the guidance asked for.

    ``guidance`` as in Rules.
    """
    check_guidance(model, guidance, cfg)
    if not cfg:
        return Forwards(calls=1, samples=batch)
    return Forwards(calls=1, samples=2 * batch) if guidance == "batch" else Forwards(calls=2, samples=batch)


def largest_side(part: str, cls: str, config: Mapping[str, Any], decoder: Mapping[str, Any]) -> int | None:
    """Pixels of a side that the denoiser's table of positions covers; None where it computes its positions.

    ``part`` is what the denoiser is called, ``cls`` its class, ``config`` its configuration, ``decoder`` the decoder's.
    RequestError where the configuration holds no whole numbers.
    """
    table = config.get("pos_embed_max_size")
    if not table or cls not in _POSITIONS:
        return None
    patch = config.get("patch_size", 1)
    for key, value in (("pos_embed_max_size", table), ("patch_size", patch)):
        if not isinstance(value, int) or value < 1:
            raise RequestError(f"{part} config {key}", value, "a whole number above 0")
    return _POSITIONS[cls](table) * int(patch) * _pixels_a_latent(decoder)


def least_steps(scheduler: Mapping[str, Any]) -> int:
    """Two for a schedule that is stretched between its first and its last step, which divides by zero with one."""
    return 2 if scheduler.get("shift_terminal") else 1


def _pixels_a_latent(decoder: Mapping[str, Any]) -> int:
    """Pixels of a side that one latent stands for: an image decoder doubles the size between its levels."""
    levels = decoder.get("block_out_channels")
    return 2 ** (len(levels) - 1) if isinstance(levels, (list, tuple)) and levels else _USUAL_PIXELS_A_LATENT
