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

from farm.catalog import rules
from farm.catalog.definitions import KINDS, Component, Gpu, Model
from farm.catalog.entry import Entry
from farm.domain.errors import RequestError
from farm.domain.measurement import PHASES
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
    return Path(path).expanduser()


def _files(kind: str, home: Path) -> dict[str, Path]:
    shipped = {p.stem: p for p in sorted((SHIPPED / kind).glob("*.toml"))}
    return shipped | {p.stem: p for p in sorted((home / "catalog" / kind).glob("*.toml"))}


def _read(path: Path) -> tuple[Entry, str]:
    try:
        raw = path.read_bytes()
        return Entry(path, tomllib.loads(decode(raw))), hashlib.sha256(raw).hexdigest()[:16]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
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
    for kind in ("gpus", "models"):
        for path in sorted((home / "catalog" / kind).glob("*.toml")):
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
    entries = {}
    for name, path in _files("gpus", home).items():
        entry, digest = _read(path)
        entries[name] = _gpu(name, entry, digest)
    return entries


def _gpu(name: str, entry: Entry, digest: str) -> Gpu:
    kind = entry.text("kind", default="gpu", one_of=KINDS)
    on_board = kind == "gpu"
    board_power = entry.positive("board_power_watts")
    return Gpu(
        name=name,
        title=entry.text("title"),
        kind=kind,
        queue=entry.name("queue", default=name),
        architecture=_architecture(entry) if on_board else None,
        nvml_names=entry.texts("nvml_names") if on_board else (),
        memory_bytes=entry.positive("memory_bytes"),
        bandwidth=entry.positive("bandwidth"),
        board_power_watts=board_power,
        idle_watts=entry.positive("idle_watts", at_most=board_power),
        chip_watts=entry.positive("chip_watts", at_most=10_000) if entry.states("chip_watts") else None,
        context_idle_watts=(
            entry.positive("context_idle_watts", at_most=board_power) if entry.states("context_idle_watts") else None
        ),
        multiprocessors=entry.whole("multiprocessors"),
        boost_clock=entry.positive("boost_clock") if entry.states("boost_clock") else None,
        peak=entry.table("peak").numbers("fp16", "bf16", "tf32", "fp32"),
        reach=entry.table("reach", optional=True).numbers(),
        power_reading=entry.text("power_reading", one_of=("instant", "average_1s")) if on_board else None,
        sensor_duty=entry.positive("sensor_duty", at_most=1.0) if on_board else None,
        sources=entry.table("sources").values,
        digest=digest,
        fingerprint=_fingerprint(entry.values),
    )


def _architecture(entry: Entry) -> str:
    """The architecture of a board. A file of version 0.1.0 said "none" of a processor, which must not become a GPU."""
    architecture = entry.text("architecture")
    if architecture == "none":
        raise RequestError(f"{entry.path}: architecture", architecture, 'that of a GPU, or kind = "processor"')
    return architecture


@cache
def _models(home: Path, _files_as_they_are: Files) -> dict[str, Model]:
    entries = {}
    for name, path in _files("models", home).items():
        entry, digest = _read(path)
        entries[name] = Model(
            name=name,
            title=entry.text("title"),
            family=entry.text("family"),
            pipeline=entry.text("pipeline"),
            repository=entry.text("repository"),
            aliases=entry.texts("aliases", default=()),
            revision=entry.text("revision", default=""),
            gated=entry.switch("gated", default=False),
            license=entry.text("license"),
            guidance=entry.text("cfg", one_of=rules.GUIDANCE),
            multiple=entry.whole("multiple"),
            video=entry.switch("video", default=False),
            parameters=entry.table("parameters").numbers("denoiser", "text", "decoder"),
            components={part: _component(part, table) for part, table in entry.table("components").tables()},
            scheduler=entry.table("scheduler").values,
            tokenizers={part: table.values for part, table in entry.table("tokenizers", optional=True).tables()},
            sources=entry.table("sources").values,
            digest=digest,
            fingerprints=_fingerprints(entry.values),
        )
    return entries


def _component(name: str, entry: Entry) -> Component:
    return Component(
        name=name,
        library=entry.text("library"),
        cls=entry.text("class"),
        phase=entry.text("phase", one_of=PHASES),
        config=entry.table("config").values,
        nano=entry.table("nano", optional=True).values,
    )


def adopt(entry: Model) -> None:
    """Add a model to the catalog of this process, until :func:`refresh`: one that no file of the catalog describes."""
    models_now()[entry.name] = entry


def refresh() -> None:
    """Forget what was read, shipped files too."""
    _read_as.clear()
    _gpus.cache_clear()
    _models.cache_clear()
