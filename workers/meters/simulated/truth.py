"""The stated truth of simulated devices: the energy, power and duration of any configuration on any catalog GPU.

    E = exp(LN_A) * (N T F 2^cfg)^ALPHA * exp(B_FP32 [fp32]) * (H W / 256)^B_RES * R_gpu      in kWh, F in GFLOPs

which is the form of Eq. 3 of arXiv 2511.17031 with round exponents near its Table 1, so that a fit can be held
against what it should find. F is one forward pass of the denoiser: Tables 4 and 5 of that paper for its transformers,
a parabola through its control values for SD 2, two operations a parameter and token for every other model. R_gpu is
the GPU's joules per operation at full board power, relative to the A100's. E is of text, denoise and decode together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from farm import catalog
from farm.domain import Configuration
from farm.domain.units import JOULES_PER_KWH

LN_A: Final = -20.4
ALPHA: Final = 0.98
B_FP32: Final = 1.95
B_RES: Final = -0.05
NANO: Final = 1e-3  # a nano model costs this part of the full one
DECODE_GFLOPS_PER_PIXEL: Final = 9.5e-3  # of the usual image autoencoder, for the split between phases
TEXT_TOKENS: Final = 77
# Part of the span from idle to board power that each phase draws.
UTILISATION: Final = {"text": 0.45, "denoise": 0.85, "decode": 0.70}


@dataclass(frozen=True, slots=True)
class Draw:
    """What one phase of one image draws above idle."""

    watts: float
    seconds: float

    @property
    def joules(self) -> float:
        return self.watts * self.seconds


def denoise_gflops(model: catalog.Model, pixels: int) -> float:
    """One forward pass of the denoiser for one image."""
    tokens = pixels / 256
    count = _COUNTS.get(model.name)
    return (count(tokens) if count else 2 * model.parameters["denoiser"] * tokens) / 1e9


def gpu_ratio(gpu: catalog.Gpu) -> float:
    """Joules per operation, relative to the A100: exp of the law's beta for that GPU."""
    reference = catalog.gpu("a100")
    return (gpu.board_power_watts / gpu.peak["fp16"]) / (reference.board_power_watts / reference.peak["fp16"])


def energy_joules(configuration: Configuration) -> float:
    """All prompts together, above idle, without noise."""
    c = configuration
    model = catalog.model(c.model)
    gflops = c.prompts * c.steps * denoise_gflops(model, c.pixels) * model.forwards(c.cfg, 1).total
    ln_kwh = LN_A + ALPHA * math.log(gflops) + B_FP32 * (c.precision == "fp32") + B_RES * math.log(c.pixels / 256)
    size = NANO if c.size == "nano" else 1.0
    return JOULES_PER_KWH * math.exp(ln_kwh) * gpu_ratio(catalog.gpu(c.gpu)) * size


def draws(configuration: Configuration) -> dict[str, Draw]:
    """What each phase of one image draws: shares of the energy by their work, at the utilisation of the phase."""
    c = configuration
    model, gpu = catalog.model(c.model), catalog.gpu(c.gpu)
    passes = model.forwards(c.cfg, 1).total
    work = {
        "text": 2 * model.parameters["text"] * TEXT_TOKENS * passes / 1e9,  # the negative prompt too
        "denoise": c.steps * denoise_gflops(model, c.pixels) * passes,
        "decode": DECODE_GFLOPS_PER_PIXEL * c.pixels,
    }
    joules = energy_joules(c) / c.prompts
    span = gpu.board_power_watts - gpu.idle_watts
    by_phase = {}
    for phase, gflops in work.items():
        watts = UTILISATION[phase] * span
        by_phase[phase] = Draw(watts, joules * gflops / sum(work.values()) / watts)
    return by_phase


def _mmdit(tokens: float, width: int, hidden: int, layers: int) -> float:
    parameters = 4 * width * layers * (2 * width + hidden)
    return tokens * (parameters + 2 * layers * tokens * width)


def _transformer(tokens: float, width: int, hidden: int, layers: int) -> float:
    parameters = 2 * width * layers * (2 * width + hidden)
    return tokens * (2 * parameters + 2 * layers * tokens * width)


_COUNTS: Final[dict[str, Callable[[float], float]]] = {
    "flux": lambda n: _mmdit(n + 512, 3072, 12288, 19) + _transformer(n + 512, 3072, 12288, 38),
    "sd35": lambda n: _mmdit(n + 333, 2432, 9478, 38),
    "qwen": lambda n: _mmdit(n + 12, 3072, 12288, 60),
    "sd2": lambda n: 6.65e8 * n + 5.8e4 * n * n,
}
