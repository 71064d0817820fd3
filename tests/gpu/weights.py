"""What weights do to power: one pipeline with five kinds of weights in its denoiser, as a process of its own.

``python -m tests.gpu.weights GPU UUID SIZE SECONDS`` prints one JSON document: for each kind the joules and seconds of
a step, clocks and power, and which share of all activations is exactly zero or not finite.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

import torch

from farm import catalog
from farm.domain import Configuration
from tests.gpu.settings import weights_configuration
from workers import pipelines
from workers.meters.nvml.meter import NvmlMeter
from workers.pipelines import memory
from workers.pipelines.base import Pipeline, torch_device
from workers.procedure.measure import measure
from workers.procedure.options import Options

SEED: Final = 7
TAIL_FREEDOM: Final = 3  # of Student's t: its variance is 3


def unit_variance(parameter: torch.Tensor) -> torch.Tensor:
    """N(0, 1 / fan-in): outputs have the variance of inputs."""
    return torch.randn_like(parameter) / math.sqrt(fan_in(parameter))


def heavy_tails(parameter: torch.Tensor) -> torch.Tensor:
    """Student's t with 3 degrees of freedom, of the same variance: a few weights are tens of times the others."""
    normal = torch.randn_like(parameter, dtype=torch.float32)
    chi = sum(torch.randn_like(normal).square() for _ in range(TAIL_FREEDOM))
    student = normal / (chi / TAIL_FREEDOM).sqrt()
    return (student / math.sqrt(TAIL_FREEDOM * fan_in(parameter))).to(parameter.dtype)


def half_zeros(parameter: torch.Tensor) -> torch.Tensor:
    """As built, with every second weight by chance set to zero."""
    return parameter * (torch.rand_like(parameter, dtype=torch.float32) < 0.5)


def all_zeros(parameter: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(parameter)


# In this order: half_zeros thins out what was built, so it comes before what overwrites it.
INITIALIZERS: Final[dict[str, Callable[[torch.Tensor], torch.Tensor] | None]] = {
    "default": None,
    "half zeros": half_zeros,
    "unit variance": unit_variance,
    "heavy tails": heavy_tails,
    "all zeros": all_zeros,
}


def fan_in(parameter: torch.Tensor) -> int:
    return max(1, math.prod(parameter.shape[1:]))


def fill(module: torch.nn.Module, initializer: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Overwrite every matrix and kernel of a module; vectors (biases, norms) stay, but where all shall be zero."""
    torch.manual_seed(SEED)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() > 1 or initializer is all_zeros:
                parameter.copy_(initializer(parameter))


def activation_shares(pipeline: Pipeline, denoiser: torch.nn.Module) -> dict[str, float]:
    """Shares of exact zeros and of non-finite values in the outputs of all linear and convolution layers."""
    counts = torch.zeros(3, dtype=torch.float64, device=pipeline.device)

    def count(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            finite = torch.isfinite(output).sum(dtype=torch.float64)
            zeros = (output == 0).sum(dtype=torch.float64)
            counts.add_(torch.stack([zeros, output.numel() - finite, torch.ones_like(finite) * output.numel()]))

    layers = [m for m in denoiser.modules() if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        pipeline.run(["weights"], 0, lambda _label: closing(_Nothing()))
    finally:
        for hook in hooks:
            hook.remove()
    zeros, nonfinite, total = counts.tolist()
    return {"zeros_percent": 100 * zeros / total, "nonfinite_percent": 100 * nonfinite / total}


class _Nothing:
    def close(self) -> None: ...


def denoising(configuration: Configuration, pipeline: Pipeline, meter: NvmlMeter, seconds: float) -> dict[str, Any]:
    """The denoising phase measured: joules and seconds of a step, and the state of the board in it."""
    idle_seconds = 1.5 if configuration.size == "full" else 0.7
    options = Options(
        idle_seconds=idle_seconds, settle_seconds=0.0, max_seconds=seconds, max_passes=1000, halfwidth=0.002
    )
    measured = measure(configuration, pipeline, meter, prompts=["weights"], options=options)
    denoise = measured.measurement.phases["denoise"]
    work = [s for s in measured.spans if s.label == "denoise"]
    first, last = work[0].start, work[-1].end
    log = [t for t in measured.recording.telemetry if first <= t["time"] <= last]
    clocks = [t["sm_mhz"] for t in log if t["sm_mhz"]]
    steps = configuration.steps * configuration.prompts
    return {
        "step_joules": None if denoise.joules is None else denoise.joules / steps,
        "step_joules_std": None if denoise.std_joules is None else denoise.std_joules / steps,
        "step_seconds": denoise.seconds / steps,
        "watts_above_idle": None if denoise.joules is None else denoise.joules / denoise.seconds,
        "idle_watts": measured.measurement.idle_watts,
        "sm_clock_mhz": statistics.median(clocks) if clocks else None,
        "flags": list(measured.measurement.flags),
        "repeats": measured.measurement.repeats,
    }


def used_bytes(device: torch.device) -> int | None:
    return int(torch.cuda.memory_reserved(device)) if device.type == "cuda" else None


def main(arguments: list[str]) -> int:
    gpu, uuid, size, seconds = arguments
    configuration = weights_configuration(gpu, size)
    device = torch_device("cuda")
    with closing(NvmlMeter(uuid, gpu=catalog.gpu(gpu))) as meter:
        pipeline = pipelines.load(configuration, "cuda")
        denoiser = next(
            pipeline._parts[n] for n, p in pipeline.model.components.items() if p.phase == "denoise"
        )  # its weights are what this program is about
        kinds = {}
        for name, initializer in INITIALIZERS.items():
            if initializer is not None:
                fill(denoiser, initializer)
            shares = activation_shares(pipeline, denoiser)
            kinds[name] = {**shares, **denoising(configuration, pipeline, meter, float(seconds))}
        peak = memory.peak_bytes(device)
        held = used_bytes(device)
        del denoiser
        pipeline.close()
        kept = used_bytes(device)
    print(
        json.dumps(
            {
                "configuration": configuration.label(),
                "kinds": kinds,
                "memory": {"peak_bytes": peak, "held_bytes": held, "after_unload_bytes": kept},
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
