"""What is known beforehand of models and GPU types: TOML files with the source of every figure.

A lab adds its own under ``FARM_HOME/catalog/models`` and ``FARM_HOME/catalog/gpus``; a file there replaces a shipped
one of the same name. Adding a model or a GPU type is adding one file.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from farm.domain.errors import RequestError

T = TypeVar("T")

SHIPPED = Path(__file__).resolve().parent
NANO = "-nano"  # ends the name of a build at nano size


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU type: the published figures of one board. Rates are dense (no sparsity), per second."""

    name: str
    title: str
    queue: str  # the Celery queue its jobs travel by
    architecture: str  # Ampere, Ada, Hopper, Blackwell; none for a CPU
    nvml_names: tuple[str, ...]  # shell patterns matched against the name that NVML gives, case ignored
    memory_bytes: float
    bandwidth: float  # bytes per second
    board_power_watts: float
    idle_watts: float  # typical, a CUDA context resident
    multiprocessors: int
    peak: Mapping[str, float]  # FLOP/s: fp16, bf16 (tensor cores, fp32 accumulation), tf32, fp32 (plain cores)
    reach: Mapping[str, float]  # share of a peak that kernels really get, where published: see analysis.laws.hardware
    power_reading: str  # what nvmlDeviceGetPowerUsage gives: "instant" or "average_1s"
    sensor_duty: float  # part of the time that the power sensor sees, 1.0 where it sees all
    sources: Mapping[str, str]
    digest: str  # of the file

    def matches(self, nvml_name: str) -> bool:
        """Whether a device that NVML calls so is one of this type."""
        return any(fnmatchcase(nvml_name.lower(), pattern.lower()) for pattern in self.nvml_names)


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a diffusion pipeline: its class and the published configuration it is built from."""

    name: str  # as in model_index.json: transformer, unet, vae, text_encoder, text_encoder_2, ...
    library: str  # diffusers or transformers
    cls: str
    phase: str  # text, denoise or decode
    config: Mapping[str, Any]
    nano: Mapping[str, Any]  # the same architecture at nano size


@dataclass(frozen=True, slots=True)
class Model:
    """A diffusion model: how it is built, what CFG really does, what it can take."""

    name: str
    title: str
    family: str  # the module of workers/pipelines that runs it
    pipeline: str  # diffusers pipeline class
    repository: str  # on the hub
    revision: str  # commit that pretrained weights are pinned to; empty where none is stated
    gated: bool
    license: str
    cfg: str  # "batch": one forward of twice the batch; "two_pass": two forwards; "none": the model has no CFG
    multiple: int  # width and height are multiples of it
    parameters: Mapping[str, float]  # published counts: denoiser, text, decoder
    components: Mapping[str, Component]
    scheduler: Mapping[str, Any]  # class and config
    tokenizers: Mapping[str, Mapping[str, Any]]  # component name -> kind and length, made in code
    sources: Mapping[str, str]
    digest: str

    def at_nano(self) -> Model:
        """The same architecture at nano size, as a model of its own; RequestError where no such size is stated."""
        if not any(c.nano for c in self.components.values()):
            raise RequestError("size", "nano", f"full: {self.name} has no nano size")
        components = {name: replace(c, config=c.nano) for name, c in self.components.items()}
        return replace(self, name=self.name + NANO, components=components)

    def check_resolution(self, width: int, height: int) -> None:
        for axis, value in (("width", width), ("height", height)):
            if value % self.multiple:
                raise RequestError(axis, value, f"{self.name} takes multiples of {self.multiple}")


def gpus() -> dict[str, Gpu]:
    return dict(_gpus(_home()))


def models() -> dict[str, Model]:
    return dict(_models(_home()))


def gpu(name: str) -> Gpu:
    """The GPU type of that name; RequestError with the nearest names otherwise."""
    return _named("gpu", name, _gpus(_home()))


def model(name: str) -> Model:
    """The model of that name; RequestError with the nearest names otherwise."""
    return _named("model", name, _models(_home()))


def build(name: str) -> Model:
    """A model by the name of its build, as the laws know it: ``flux``, or ``flux-nano`` for its nano size."""
    if name.endswith(NANO) and name not in _models(_home()):
        return model(name.removesuffix(NANO)).at_nano()
    return model(name)


def has_build(name: str) -> bool:
    """Whether ``build`` knows it."""
    known = _models(_home())
    base = known.get(name.removesuffix(NANO))
    return name in known or (base is not None and any(c.nano for c in base.components.values()))


def version() -> str:
    """Digest of everything in the catalog: a worker refuses a job that rests on another catalog."""
    lines = [f"gpu {e.name} {e.digest}" for e in _gpus(_home()).values()]
    lines += [f"model {e.name} {e.digest}" for e in _models(_home()).values()]
    text = "\n".join(sorted(lines))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _home() -> str:
    return os.environ.get("FARM_HOME", "")


def _named(field: str, name: str, entries: Mapping[str, T]) -> T:
    if name in entries:
        return entries[name]
    near = difflib.get_close_matches(str(name), entries, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise RequestError(field, name, f"{hint}known: {', '.join(sorted(entries))}")


def _files(kind: str, home: str) -> dict[str, Path]:
    found = {p.stem: p for p in sorted((SHIPPED / kind).glob("*.toml"))}
    if home:
        found |= {p.stem: p for p in sorted((Path(home) / "catalog" / kind).glob("*.toml"))}
    return found


def _read(path: Path) -> tuple[dict[str, Any], str]:
    try:
        raw = path.read_bytes()
        return tomllib.loads(raw.decode()), hashlib.sha256(raw).hexdigest()[:16]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RequestError("catalog", str(path), f"readable TOML ({error})") from error


@cache
def _gpus(home: str) -> dict[str, Gpu]:
    entries = {}
    for name, path in _files("gpus", home).items():
        data, digest = _read(path)
        try:
            entries[name] = Gpu(
                name=name,
                title=data["title"],
                queue=data.get("queue", name),
                architecture=data["architecture"],
                nvml_names=tuple(data["nvml_names"]),
                memory_bytes=float(data["memory_bytes"]),
                bandwidth=float(data["bandwidth"]),
                board_power_watts=float(data["board_power_watts"]),
                idle_watts=float(data["idle_watts"]),
                multiprocessors=int(data["multiprocessors"]),
                peak={k: float(v) for k, v in data["peak"].items()},
                reach={k: float(v) for k, v in data.get("reach", {}).items()},
                power_reading=data["power_reading"],
                sensor_duty=float(data["sensor_duty"]),
                sources=data["sources"],
                digest=digest,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RequestError("catalog", str(path), f"the keys of farm/catalog/gpus/a100.toml ({error!r})") from error
    return entries


@cache
def _models(home: str) -> dict[str, Model]:
    entries = {}
    for name, path in _files("models", home).items():
        data, digest = _read(path)
        try:
            components = {
                part: Component(part, c["library"], c["class"], c["phase"], c["config"], c.get("nano", {}))
                for part, c in data["components"].items()
            }
            entries[name] = Model(
                name=name,
                title=data["title"],
                family=data["family"],
                pipeline=data["pipeline"],
                repository=data["repository"],
                revision=data.get("revision", ""),
                gated=bool(data.get("gated", False)),
                license=data["license"],
                cfg=data["cfg"],
                multiple=int(data["multiple"]),
                parameters={k: float(v) for k, v in data["parameters"].items()},
                components=components,
                scheduler=data["scheduler"],
                tokenizers=data.get("tokenizers", {}),
                sources=data["sources"],
                digest=digest,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RequestError("catalog", str(path), f"the keys of farm/catalog/models/sd2.toml ({error!r})") from error
    return entries


def refresh() -> None:
    """Read the files again: they are read once a process otherwise."""
    _gpus.cache_clear()
    _models.cache_clear()
