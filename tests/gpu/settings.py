"""Which configurations the acceptance measures."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from analysis.laws.work.laboratories import OWN_METER
from farm.catalog import memory
from farm.domain import Configuration

# Full-size pipelines with random weights, the cheapest first; FLUX where it fits.
PIPELINES: Final[tuple[dict[str, Any], ...]] = (
    {"model": "sd2", "resolution": 512, "steps": 20, "precision": "fp16", "cfg": True, "prompts": 4},
    {"model": "flux", "resolution": 1024, "steps": 10, "precision": "bf16", "cfg": False, "prompts": 2},
    {"model": "sdxl", "resolution": 1024, "steps": 20, "precision": "fp16", "cfg": True, "prompts": 2},
    {"model": "sd35-medium", "resolution": 1024, "steps": 20, "precision": "fp16", "cfg": True, "prompts": 2},
)
NANO: Final = {"resolution": 64, "steps": 2, "precision": "fp32", "prompts": 1}
WEIGHTS: Final = {
    "model": "sd35-medium",
    "resolution": 1024,
    "steps": 8,
    "precision": "fp16",
    "cfg": True,
    "prompts": 1,
}
SWEEP_MODELS: Final = ("sd2", "sd35-medium")
TOO_LARGE: Final = {
    "model": "flux",
    "resolution": 1024,
    "steps": 1,
    "precision": "bf16",
    "batch": 1024,
    "prompts": 1024,
}


def full_pipelines(gpu: str, size: str) -> list[Configuration]:
    """Those that fit the GPU type; at nano size two of them, small."""
    every = [_configuration(gpu, size, values) for values in PIPELINES[: 2 if size == "nano" else None]]
    return [c for c in every if memory.objection(c) is None]


def weights_configuration(gpu: str, size: str) -> Configuration:
    return _configuration(gpu, size, WEIGHTS)


def sweep_text(gpu: str, size: str) -> str:
    """Twelve configurations of two models; at nano size six of one."""
    small = size == "nano"
    return f"""\
name: acceptance
models: [{", ".join(SWEEP_MODELS[:1] if small else SWEEP_MODELS)}]
gpus: [{gpu}]
resolutions: [{"64, 128" if small else "512, 768"}]
steps: [{"1, 2, 3" if small else "5, 10, 20"}]
precisions: [{"fp32" if small else "fp16"}]
cfg: [true]
prompts: [1]
size: {size}
"""


def too_large_text(gpu: str, size: str) -> str:
    """A batch that no board holds, and one image that every board does, after it."""
    small = size == "nano"
    large = {**TOO_LARGE, **({"resolution": 64} if small else {})}
    return f"""\
name: too-large
models: [{large["model"]}]
gpus: [{gpu}]
resolutions: [{large["resolution"]}]
steps: [{large["steps"]}]
precisions: [{"fp32" if small else large["precision"]}]
cfg: [false]
prompts: [{large["prompts"]}]
batch: [{large["batch"]}]
size: {size}
include:
  - {{model: sd2, gpu: {gpu}, resolution: {64 if small else 256}, steps: 4, precision: {"fp32" if small else "fp16"}, \
cfg: false, prompts: 1, batch: 1}}
"""


def table(configurations: list[Configuration]) -> str:
    """As the CSV that ``farm predict --in`` reads: as this project's meter finds them, today."""
    names = ("model", "gpu", "width", "height", "steps", "precision", "cfg", "prompts", "meter", "measured_at")
    rows = [
        [*(getattr(c, name) for name in names[:-2]), OWN_METER, datetime.now(UTC).isoformat()] for c in configurations
    ]
    return "".join(",".join(map(str, row)) + "\n" for row in (names, *rows))


def options(configuration: Configuration) -> list[str]:
    """Its words for ``farm measure``."""
    c = configuration
    words = ["--model", c.model, "--gpu", c.gpu, "--resolution", f"{c.width}x{c.height}", "--steps", str(c.steps)]
    words += ["--precision", c.precision, "--prompts", str(c.prompts), *(["--cfg"] if c.cfg else [])]
    return words


def _configuration(gpu: str, size: str, values: dict[str, Any]) -> Configuration:
    if size == "nano":
        values = {**values, **NANO}
    return Configuration.from_mapping({**values, "gpu": gpu, "size": size})
