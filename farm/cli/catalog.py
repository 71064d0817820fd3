"""``farm models`` and ``farm gpus``: what the catalog has."""

from __future__ import annotations

from typing import Any

import click

from farm.catalog import documents
from farm.cli.options import emit_json, json_option
from farm.domain.words import with_prefix


@click.command()
@json_option
def models(as_json: bool) -> None:
    """The models of the catalog, a lab's own among them."""
    document = documents.models()
    if as_json:
        emit_json(document)
        return
    _table(
        ["name", "title", "parameters", "guidance", "sides"],
        [
            [d["name"], d["title"], with_prefix(d["parameters"], "").strip(), d["guidance"], _sides(d["sizes"])]
            for d in document["models"]
        ],
    )


@click.command()
@json_option
def gpus(as_json: bool) -> None:
    """The GPU types of the catalog, processors and a lab's own among them."""
    document = documents.gpus()
    if as_json:
        emit_json(document)
        return
    _table(
        ["name", "title", "kind", "memory", "power", "queue"],
        [
            [d["name"], d["title"], d["kind"], f"{d['memory_bytes'] / 1e9:.0f} GB", f"{d['board_power_watts']:.0f} W",
             d["queue"]]
            for d in document["gpus"]
        ],
    )  # fmt: skip


def _sides(sizes: dict[str, Any]) -> str:
    largest = sizes["largest_side"]
    return f"multiples of {sizes['multiple']}{f' up to {largest}' if largest else ''}"


def _table(heads: list[str], lines: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    for line in (heads, *lines):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
