"""``farm flops``: the work of one image and one denoising step."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from farm import catalog
from farm.cli.completion import complete_models_and_folders
from farm.cli.options import emit_json, json_option
from farm.domain.configuration import MAX_FRAMES, MAX_SIDE
from farm.domain.errors import RequestError

GIGA: Final = 1e9
_COLUMNS: Final = (
    ("paper", "GFLOPs, paper", 1),
    ("exact", "GFLOPs", 1),
    ("moved", "GB moved", 2),
    ("kernels", "kernels", 0),
)  # key, title, digits
_PARTS: Final = {"text": "text", "denoise": "denoise_step", "decode": "decode"}


@click.command()
@click.argument("model", shell_complete=complete_models_and_folders)
@click.option("--resolution", required=True, metavar="R", help="Pixels of a side, such as 512, or WIDTHxHEIGHT.")
@click.option("--cfg", is_flag=True, help="With classifier-free guidance: both passes.")
@click.option(
    "--frames", default=1, show_default=True, type=click.IntRange(1, MAX_FRAMES), help="Of a video; 1 for an image."
)
@json_option
def flops(model: str, resolution: str, cfg: bool, frames: int, as_json: bool) -> None:
    """The work of one image or video and of one denoising step.

    MODEL is a catalog name or a folder in diffusers layout, which is counted on the meta device: configurations only,
    no weights. Exact counts of matrix products, attention and convolutions (2 a multiply-add), bytes moved and kernels
    in fp16, eager.
    """
    width, height = _parse_resolution(resolution)
    document = work_of(model, width, height, cfg, frames)
    if as_json:
        emit_json(document)
        return
    length = f" {frames} frames" if frames > 1 else ""
    click.echo(f"{document['model']} {width}x{height}{length}{' cfg' if cfg else ''}")
    shown = [(key, title, digits) for key, title, digits in _COLUMNS if document[key]]
    click.echo("".join([f"{'':14}", *(f"{title:>15}" for _, title, _ in shown)]))
    for part in _PARTS.values():
        cells = [_cell(document[key][part], digits) for key, _, digits in shown]
        click.echo("".join([f"{part:14}", *(f"{cell:>15}" for cell in cells)]))


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def work_of(model: str, width: int, height: int, cfg: bool, frames: int = 1) -> dict[str, Any]:
    """The document of ``farm flops --json``: GFLOPs, GB and kernels by part. RequestError for what cannot be had."""
    folder = None if model in catalog.models() else _folder(model)
    if folder is not None:
        sums = _of_folder(folder, width, height, cfg, frames)
    else:
        model = catalog.find_build(model)
        sums = _of_catalog(model, width, height, cfg, frames)
    return {
        "model": model,
        "width": width,
        "height": height,
        "cfg": cfg,
        "frames": frames,
        "paper": _as_printed(model, width, height),
        "exact": {part: _scaled(sums[phase]["flops"], GIGA) for phase, part in _PARTS.items()},
        "moved": {part: _scaled(sums[phase]["moved_bytes"], GIGA) for phase, part in _PARTS.items()},
        "kernels": {part: _whole(sums[phase]["kernels"]) for phase, part in _PARTS.items()},
    }


def _of_catalog(model: str, width: int, height: int, cfg: bool, frames: int) -> dict[str, dict[str, float | None]]:
    from analysis.work import load
    from farm.domain import PHASES

    catalog.build(model).check_frames(frames)
    catalog.build(model).rules().check_image(width, height, cfg)
    work = load.load(model)
    totals = {phase: work.totals(phase, width, height, cfg=cfg, frames=frames) for phase in PHASES}
    return {
        phase: {"flops": t.flops, "moved_bytes": t.moved_bytes, "kernels": t.kernels} for phase, t in totals.items()
    }


def _folder(model: str) -> Path | None:
    """The folder of a model that the catalog does not have under any name, None for one that it has.

    RequestError for a path that is no folder.
    """
    from analysis.work import models

    if not model.strip():
        raise RequestError("model", repr(model), "a catalog name or a folder in diffusers layout")
    folder = models.folder_of(model)
    if folder is not None:
        return folder
    try:
        catalog.find_build(model)
    except RequestError:
        cached = models.cached_folder(model)
        if cached is None and Path(model).name != model:  # no name of a catalog model has a separator
            remedy = "a catalog name, a folder in diffusers layout, or a repository in the local cache of the hub"
            raise RequestError("model", model, remedy) from None
        return cached
    return None


def _of_folder(folder: Path, width: int, height: int, cfg: bool, frames: int) -> dict[str, dict[str, float | None]]:
    from analysis.cli.counting import announce
    from analysis.work import ondemand
    from analysis.work.trace.pipeline import from_folder

    announce()
    pipeline = from_folder(folder)
    pipeline.rules.check_image(width, height, cfg)
    pipeline.check_frames(frames)
    if pipeline.missing:
        click.echo(f"text: unknown, the folder has no {', '.join(pipeline.missing)}", err=True)
    return ondemand.sums(pipeline, width, height, cfg, frames)


def _as_printed(model: str, width: int, height: int) -> dict[str, float | None] | None:
    from analysis.work import paper

    if model not in paper.MODELS:
        return None
    text, decode = paper.text_flops(model), paper.decode_flops(model, width, height)
    return {
        "text": None if text is None else text / GIGA,
        "denoise_step": paper.denoise_flops(model, width, height) / GIGA,
        "decode": None if decode is None else decode / GIGA,
    }


def _parse_resolution(text: str) -> tuple[int, int]:
    from analysis.cli.options import parse_resolution

    width, height = parse_resolution(text)
    for axis, value in (("width", width), ("height", height)):
        if not 8 <= value <= MAX_SIDE:
            raise RequestError(f"resolution {axis}", value, f"from 8 to {MAX_SIDE} pixels")
    return width, height
