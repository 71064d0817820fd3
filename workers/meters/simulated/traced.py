"""Another truth for simulated devices: energy, power and seconds of a phase from the work that was traced.

Every group of operations of the model's work table (``farm/catalog/work``) runs at a rate of its kind, after the time
that a kernel of that kind takes to fill the GPU. Seconds add up, of arithmetic or bytes, launches and the host's time
for a call, where a law would take maxima. Every shape of a model on a GPU is off by an amount of its own, as
kernels are chosen by shape, and every number of steps by a smaller one.

It is neither Eq. 3, which ``truth`` states, nor any law of this project, and none of its numbers is read from one: what
is learned from devices that follow it has to come from their rows.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from farm import catalog
from farm.domain import Configuration
from workers.meters.simulated.truth import Draw

# Part of the peak (of the bandwidth, for what only moves bytes) that a large kernel of a kind reaches.
REACH: Final = {"matmul": 0.62, "attention": 0.38, "convolution": 0.47, "memory": 0.78}
RAMP_SECONDS: Final = {"matmul": 7e-6, "attention": 14e-6, "convolution": 12e-6, "memory": 2e-6}  # filling the GPU
UTILISATION: Final = {"matmul": 0.94, "attention": 0.81, "convolution": 0.88, "memory": 0.57}  # of idle to board power
FP32_UTILISATION: Final = 0.74
LAUNCH_SECONDS: Final = 4.5e-6  # of a kernel, after the one before
LAUNCH_UTILISATION: Final = 0.15
CALL_SECONDS: Final = {"text": 0.006, "denoise": 0.004, "decode": 0.025}  # of the host, in one call of a phase
CALL_UTILISATION: Final = 0.10
SHAPE_SCATTER: Final = 0.015  # of a shape of a model on a GPU, relative, one standard deviation
STEPS_SCATTER: Final = 0.005  # of a number of steps beside it


def draws(configuration: Configuration) -> dict[str, Draw] | None:
    """What each phase of one image draws; None for a model whose work is not in the table."""
    c = configuration
    work = _work(c.model if c.size == "full" else f"{c.model}{catalog.NANO}")
    if work is None:
        return None
    model, gpu = catalog.model(c.model), catalog.gpu(c.gpu)
    step = model.forwards(c.cfg, c.batch)
    encoded = 2 if c.cfg and work.get("negative", True) else 1
    calls = {"text": (encoded, c.batch), "denoise": (c.steps * step.calls, step.samples), "decode": (1, c.batch)}
    scatter = _scatter(c)
    by_phase = {}
    for phase, (times, samples) in calls.items():
        by_precision = work["phases"][phase]
        rows = by_precision[c.precision]
        rows = by_precision[rows] if isinstance(rows, str) else rows
        joules, seconds = _one_call(rows["one" if samples == 1 else "many"], c, samples, gpu)
        joules += CALL_UTILISATION * _span(gpu) * CALL_SECONDS[phase]
        seconds += CALL_SECONDS[phase]
        by_phase[phase] = Draw(scatter * joules / seconds, times * seconds / c.batch)
    return by_phase


@lru_cache(maxsize=32)
def _work(name: str) -> Mapping[str, Any] | None:
    path = catalog.SHIPPED / "work" / f"{name}.json"
    document: Mapping[str, Any] | None = json.loads(path.read_text()) if path.is_file() else None
    return document


def _span(gpu: catalog.Gpu) -> float:
    return gpu.board_power_watts - gpu.idle_watts


def _one_call(
    rows: Sequence[Mapping[str, Any]], c: Configuration, samples: int, gpu: catalog.Gpu
) -> tuple[float, float]:
    """Joules above idle and seconds of one forward pass of so many samples."""
    joules = seconds = 0.0
    for row in rows:
        if row["kind"] == "view":
            continue
        scale, count = row.get("scale", 1), row["count"]
        points = math.ceil(c.width / scale) * math.ceil(c.height / scale)
        flops, *moved = (
            _polynomial(row.get(name, ()), points, samples)
            for name in ("flops", "read_bytes", "write_bytes", "weight_bytes")
        )
        operation = row["kind"] if flops else "memory"
        wide = c.precision == "fp32" or bool(row.get("fp32"))
        amount = flops or sum(moved)
        full_precision = wide and operation == "matmul"
        peak = gpu.peak["fp32" if full_precision else "tf32" if wide else "fp16"] if flops else gpu.bandwidth
        busy = amount / (peak * REACH[operation]) + RAMP_SECONDS[operation] * count
        power = FP32_UTILISATION if full_precision else UTILISATION[operation]
        joules += _span(gpu) * (power * busy + LAUNCH_UTILISATION * LAUNCH_SECONDS * count)
        seconds += busy + LAUNCH_SECONDS * count
    return joules, seconds


def _polynomial(terms: Sequence[float], points: float, samples: float) -> float:
    """A quantity of a group by the points of its grid and the samples of a pass, as the work table writes it."""
    u0, u1, v0, v1, v2 = (*terms, *(0.0,) * (5 - len(terms)))
    return u0 + u1 * points + samples * (v0 + v1 * points + v2 * points**2)


def _scatter(c: Configuration) -> float:
    shape = f"{c.model} {c.gpu} {c.size} {c.precision} {c.width} {c.height} {c.cfg} {c.batch}"
    return math.exp(SHAPE_SCATTER * _normal(shape) + STEPS_SCATTER * _normal(f"{shape} {c.steps}"))


def _normal(text: str) -> float:
    """A standard normal number, always the same for a text: twelve uniform ones less six."""
    digest = hashlib.sha256(text.encode()).digest()
    return sum(int.from_bytes(digest[2 * i : 2 * i + 2], "big") for i in range(12)) / 65536 - 6
