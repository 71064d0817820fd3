"""``farm models`` and ``farm gpus``: what the catalog has."""

from __future__ import annotations

from typing import Any

import click

from farm import catalog
from farm.catalog import Gpu, Model
from farm.cli.options import emit_json, json_option
from farm.domain.units import with_prefix


@click.command()
@json_option
def models(as_json: bool) -> None:
    """The models of the catalog, a lab's own among them."""
    documents = [_model(model) for model in catalog.models().values()]
    if as_json:
        emit_json({"models": documents})
        return
    _table(
        ["name", "title", "parameters", "guidance", "sides"],
        [
            [d["name"], d["title"], with_prefix(d["parameters"], "").strip(), d["guidance"], _sides(d["sizes"])]
            for d in documents
        ],
    )


@click.command()
@json_option
def gpus(as_json: bool) -> None:
    """The GPU types of the catalog, processors and a lab's own among them."""
    documents = [_gpu(gpu) for gpu in catalog.gpus().values()]
    if as_json:
        emit_json({"gpus": documents})
        return
    _table(
        ["name", "title", "kind", "memory", "power", "queue"],
        [
            [d["name"], d["title"], d["kind"], f"{d['memory_bytes'] / 1e9:.0f} GB", f"{d['board_power_watts']:.0f} W",
             d["queue"]]
            for d in documents
        ],
    )  # fmt: skip


def _model(model: Model) -> dict[str, Any]:
    rules = model.rules()
    return {
        "name": model.name,
        "title": model.title,
        "family": model.family,
        "parameters": sum(model.parameters.values()),
        "parameters_by_part": dict(model.parameters),
        "guidance": model.guidance,
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
        "context_idle_watts": gpu.context_idle_watts,
        "queue": gpu.queue,
        "nvml_names": list(gpu.nvml_names),
        "sources": dict(gpu.sources),
    }


def _sides(sizes: dict[str, Any]) -> str:
    largest = sizes["largest_side"]
    return f"multiples of {sizes['multiple']}{f' up to {largest}' if largest else ''}"


def _table(heads: list[str], lines: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    for line in (heads, *lines):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
