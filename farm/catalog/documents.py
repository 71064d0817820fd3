"""The catalog as documents: what ``farm models`` and ``farm gpus`` print and the page answers."""

from __future__ import annotations

from typing import Any

from farm import catalog
from farm.catalog.definitions import Gpu, Model


def models() -> dict[str, Any]:
    """Every model, a lab's own among them."""
    return {"models": [_model(model) for model in catalog.models().values()]}


def gpus() -> dict[str, Any]:
    """Every GPU type, processors and a lab's own among them."""
    return {"gpus": [_gpu(gpu) for gpu in catalog.gpus().values()]}


def _model(model: Model) -> dict[str, Any]:
    rules = model.rules()
    return {
        "name": model.name,
        "title": model.title,
        "family": model.family,
        "parameters": sum(model.parameters.values()),
        "parameters_by_part": dict(model.parameters),
        "guidance": model.guidance,
        "video": model.video,
        "sizes": {"multiple": rules.multiple, "largest_side": rules.largest_side},
        "repository": model.repository,
        "license": model.license,
        "gated": model.gated,
    }


def _gpu(gpu: Gpu) -> dict[str, Any]:
    return {
        "name": gpu.name,
        "title": gpu.title,
        "kind": gpu.kind,
        "architecture": gpu.architecture,
        "memory_bytes": gpu.memory_bytes,
        "bandwidth_bytes_per_second": gpu.bandwidth,
        "board_power_watts": gpu.board_power_watts,
        "idle_watts": gpu.idle_watts,
        "chip_watts": gpu.chip_watts,
        "context_idle_watts": gpu.context_idle_watts,
        "queue": gpu.queue,
        "nvml_names": list(gpu.nvml_names),
        "sources": dict(gpu.sources),
    }
