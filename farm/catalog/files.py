"""The files of the catalog: those that ship and a lab's own, read once and again when a lab's own have changed."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from farm.catalog.definitions import Component, Gpu, Model
from farm.catalog.file_models import ComponentTable, GpuFile, ModelFile, check_gpu, checked
from farm.domain.errors import RequestError
from farm.domain.parsing import parse_path
from farm.domain.text import decode

SHIPPED = Path(__file__).resolve().parent
# Keys of a file that change no measurement: words, sources, and which boards are of a type.
DESCRIPTIONS = ("title", "sources", "license", "gated", "nvml_names", "reach", "context_idle_watts", "chip_watts")


def gpus_now() -> dict[str, Gpu]:
    """Every type of device by its name, as the files were when this process read them."""
    return _gpus(*_files_now())


def models_now() -> dict[str, Model]:
    """Every model by its name, likewise."""
    return _models(*_files_now())


def home() -> Path:
    """FARM_HOME, or ~/.local/share/joulefarm."""
    return _home(os.environ.get("FARM_HOME") or "~/.local/share/joulefarm", os.environ.get("HOME"))


@cache
def _home(path: str, _user: str | None) -> Path:
    """Asked for with every look into the catalog, hence kept."""
    return parse_path("FARM_HOME", path)


def _files(folder: str, home: Path) -> dict[str, Path]:
    shipped = {p.stem: p for p in sorted((SHIPPED / folder).glob("*.toml"))}
    return shipped | {p.stem: p for p in sorted((home / "catalog" / folder).glob("*.toml"))}


def _read(path: Path) -> tuple[dict[str, Any], str]:
    try:
        raw = path.read_bytes()
        return tomllib.loads(decode(raw)), hashlib.sha256(raw).hexdigest()[:16]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise RequestError("catalog", str(path), f"readable TOML ({error})") from error


def _fingerprint(values: Mapping[str, Any]) -> str:
    relevant = {key: value for key, value in values.items() if key not in DESCRIPTIONS}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _fingerprints(values: Mapping[str, Any]) -> dict[str, str]:
    """Of a model at each size: a job of one does not depend on how the other is built."""
    prints = {}
    for size, other in (("full", "nano"), ("nano", "config")):
        parts = {
            name: {key: value for key, value in part.items() if key != other}
            for name, part in values["components"].items()
        }
        prints[size] = _fingerprint({**values, "components": parts})
    return prints


Files = tuple[tuple[str, int, int, int], ...]  # a lab's own: path, inode, size, time of the last change
_read_as: dict[Path, Files] = {}  # home -> its files as they were when they were read


def _lab_files(home: Path) -> Files:
    stamps = []
    for folder in ("gpus", "models"):
        for path in sorted((home / "catalog" / folder).glob("*.toml")):
            with suppress(OSError):  # taken away this moment
                status = path.stat()
                stamps.append((str(path), status.st_ino, status.st_size, status.st_mtime_ns))
    return tuple(stamps)


def _files_now() -> tuple[Path, Files]:
    """The home and its files as this process knows them: looked at once, and again by ``reload``."""
    here = home()
    if here not in _read_as:
        _read_as[here] = _lab_files(here)
    return here, _read_as[here]


def reload() -> bool:
    """Read a lab's own files again where one was added, changed or taken away; whether that was so.

    RequestError for a file that cannot be read: what was read before stays.
    """
    here, known = _files_now()
    files = _lab_files(here)
    if files == known:
        return False
    _gpus(here, files)
    _models(here, files)
    _read_as[here] = files
    return True


@cache
def _gpus(home: Path, _files_as_they_are: Files) -> dict[str, Gpu]:
    return {name: _gpu(name, path) for name, path in _files("gpus", home).items()}


def _gpu(name: str, path: Path) -> Gpu:
    values, digest = _read(path)
    file = checked(GpuFile, path, values)
    check_gpu(path, file)
    on_board = file.kind == "gpu"
    return Gpu(
        name=name,
        title=file.title,
        kind=file.kind,
        queue=file.queue or name,
        architecture=file.architecture if on_board else None,
        nvml_names=tuple(file.nvml_names) if on_board else (),
        memory_bytes=file.memory_bytes,
        bandwidth=file.bandwidth,
        board_power_watts=file.board_power_watts,
        idle_watts=file.idle_watts,
        chip_watts=file.chip_watts,
        context_idle_watts=file.context_idle_watts,
        multiprocessors=file.multiprocessors,
        boost_clock=file.boost_clock,
        peak=dict(file.peak),
        reach=file.reach,
        power_reading=file.power_reading if on_board else None,
        sensor_duty=file.sensor_duty if on_board else None,
        sources=file.sources,
        digest=digest,
        fingerprint=_fingerprint(values),
    )


@cache
def _models(home: Path, _files_as_they_are: Files) -> dict[str, Model]:
    paths = _files("models", home)
    entries = {name: _model(name, path) for name, path in paths.items()}
    shipped = {entry.pipeline: entry for name, entry in entries.items() if paths[name].parent.parent == SHIPPED}
    for name, entry in entries.items():
        same = shipped.get(entry.pipeline, entry)
        if entry.family != same.family:
            remedy = f"{same.family}, as {same.name}, which has the same pipeline"
            raise RequestError(f"{paths[name]}: family", entry.family, remedy)
    return entries


def _model(name: str, path: Path) -> Model:
    values, digest = _read(path)
    file = checked(ModelFile, path, values)
    return Model(
        name=name,
        title=file.title,
        family=file.family,
        pipeline=file.pipeline,
        repository=file.repository,
        aliases=tuple(file.aliases),
        revision=file.revision,
        gated=file.gated,
        license=file.license,
        guidance=file.cfg,
        multiple=file.multiple,
        video=file.video,
        parameters=dict(file.parameters),
        components={part: _component(part, table) for part, table in file.components.items()},
        scheduler=values["scheduler"],
        tokenizers=file.tokenizers,
        sources=file.sources,
        digest=digest,
        fingerprints=_fingerprints(values),
    )


def _component(name: str, table: ComponentTable) -> Component:
    return Component(
        name=name, library=table.library, cls=table.cls, phase=table.phase, config=table.config, nano=table.nano
    )


def adopt(entry: Model) -> None:
    """Add a model to the catalog of this process, until :func:`refresh`: one that no file of the catalog describes."""
    models_now()[entry.name] = entry


def refresh() -> None:
    """Forget what was read, shipped files too."""
    _read_as.clear()
    _gpus.cache_clear()
    _models.cache_clear()
