"""What is known beforehand of models and GPU types: TOML files with the source of every figure.

A lab adds its own under ``FARM_HOME/catalog/models`` and ``FARM_HOME/catalog/gpus``; a file there replaces a shipped
one of the same name. Adding a model or a GPU type is adding one file.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from farm.catalog import names, rules
from farm.catalog.entry import Entry
from farm.catalog.rules import Forwards, Rules
from farm.domain.configuration import Configuration
from farm.domain.errors import RequestError
from farm.domain.measurement import PHASES
from farm.domain.text import decode

SHIPPED = Path(__file__).resolve().parent
NANO = "-nano"  # ends the name of a build at nano size
KINDS = ("gpu", "processor")
# Keys of a file that change no measurement: words, sources, and which boards are of a type.
DESCRIPTIONS = ("title", "sources", "license", "gated", "nvml_names", "reach")
PROCESSOR = "cpu"  # the shipped entry for the processor of whatever host


@dataclass(frozen=True, slots=True)
class Gpu:
    """A type of device, mostly a GPU's board, with its published figures. Rates are dense (no sparsity), per second.

    What NVML and the power sensor of a board say is empty or None for a processor, whose energy is estimated.
    """

    name: str
    title: str
    kind: str  # of KINDS
    queue: str  # the Celery queue its jobs travel by
    architecture: str | None  # Ampere, Ada, Hopper, Blackwell
    nvml_names: tuple[str, ...]  # shell patterns matched against the name that NVML gives, case ignored
    memory_bytes: float
    bandwidth: float  # bytes per second
    board_power_watts: float
    idle_watts: float  # typical, a CUDA context resident
    multiprocessors: int
    boost_clock: float | None  # cycles per second of the multiprocessors; None where it is not stated
    peak: Mapping[str, float]  # FLOP/s: fp16, bf16 (tensor cores, fp32 accumulation), tf32, fp32 (plain cores)
    reach: Mapping[str, float]  # published share of a peak that kernels really get: see analysis.laws.work.hardware
    power_reading: str | None  # what nvmlDeviceGetPowerUsage gives: "instant" or "average_1s"
    sensor_duty: float | None  # part of the time that the power sensor sees, 1.0 where it sees all
    sources: Mapping[str, str]
    digest: str  # of the file
    fingerprint: str  # of what a measurement on it depends on

    @property
    def is_processor(self) -> bool:
        """Whether it is a host's processor, which no NVML reads, rather than a GPU."""
        return self.kind == "processor"

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
    aliases: tuple[str, ...]  # what else it is called: other repositories of the same weights, short names
    revision: str  # commit that pretrained weights are pinned to; empty where none is stated
    gated: bool
    license: str
    guidance: str  # what CFG makes the denoiser do: as in farm.catalog.rules.Rules
    multiple: int  # width and height are multiples of it
    parameters: Mapping[str, float]  # published counts: denoiser, text, decoder
    components: Mapping[str, Component]
    scheduler: Mapping[str, Any]  # class and config
    tokenizers: Mapping[str, Mapping[str, Any]]  # component name -> kind and length, made in code
    sources: Mapping[str, str]
    digest: str
    fingerprints: Mapping[str, str]  # by size, full and nano: of what a measurement of it depends on

    @property
    def takes_guidance(self) -> bool:
        """Whether there is classifier-free guidance to be switched on."""
        return self.guidance != "none"

    def at_nano(self) -> Model:
        """The same architecture at nano size, as a model of its own; RequestError where no such size is stated."""
        self._require_nano()
        components = {name: replace(c, config=c.nano) for name, c in self.components.items()}
        return replace(self, name=self.name + NANO, components=components)

    def check(self, configuration: Configuration) -> None:
        """Raise RequestError, naming the field, where the model cannot make the images of a configuration.

        Bounds that hold for every model are the configuration's own.
        """
        if configuration.size == "nano":
            self._require_nano()
        limits = self.rules(configuration.size)
        limits.check_image(configuration.width, configuration.height, configuration.cfg)
        limits.check_steps(configuration.steps)
        if configuration.frames != 1:
            raise RequestError("frames", configuration.frames, f"1: {self.name} makes images")

    def forwards(self, cfg: bool, batch: int) -> Forwards:
        """What one denoising step of ``batch`` images asks of the denoiser; RequestError for guidance it lacks."""
        return rules.forwards(self.name, self.guidance, cfg, batch)

    def rules(self, size: str = "full") -> Rules:
        """What the model takes at that size, full or nano."""
        denoiser, decoder = self._part("denoise"), self._part("decode")
        configs = (denoiser.nano, decoder.nano) if size == "nano" else (denoiser.config, decoder.config)
        return Rules(
            model=self.name,
            guidance=self.guidance,
            multiple=self.multiple,
            largest_side=rules.largest_side(denoiser.name, denoiser.cls, *configs),
            least_steps=rules.least_steps(self.scheduler.get("config", {})),
        )

    def _part(self, phase: str) -> Component:
        for part in self.components.values():
            if part.phase == phase:
                return part
        raise RequestError(f"{self.name} components", ", ".join(self.components), f"one of the phase {phase}")

    def _require_nano(self) -> None:
        if not any(c.nano for c in self.components.values()):
            raise RequestError("size", "nano", f"full: {self.name} has no nano size")


def gpus() -> dict[str, Gpu]:
    return dict(_gpus(*_files_now()))


def models() -> dict[str, Model]:
    return dict(_models(*_files_now()))


def gpu(name: str) -> Gpu:
    """The GPU type of that name; RequestError with the nearest names otherwise."""
    known = _gpus(*_files_now())
    if name in known:
        return known[name]
    raise names.refusal("gpu", str(name), _gpu_names(known), names.gpu_spelling)


def model(name: str) -> Model:
    """The model of that name; RequestError with the nearest names otherwise."""
    known = _models(*_files_now())
    if name in known:
        return known[name]
    raise names.refusal("model", str(name), _model_names(known), names.model_spelling)


def find_gpu(text: str, *, field: str = "gpu") -> Gpu:
    """The GPU type that a text names, whoever wrote it: ``a100``, `` A100 ``, ``NVIDIA A100-SXM4-80GB``.

    A catalog name, but for case, blanks and punctuation; a title; the name that NVML gives the board, with or without
    its maker. RequestError where nothing, or more than one type, is called so; it says what is near.
    """
    known = _gpus(*_files_now())

    def patterns(text: str) -> list[str]:
        spellings = (text, f"NVIDIA {text}")
        return [name for name, entry in known.items() if any(map(entry.matches, spellings))]

    return known[names.find(field, text, _gpu_names(known), names.gpu_spelling, patterns)]


def find_model(text: str, *, field: str = "model") -> Model:
    """The model that a text names, whoever wrote it: ``flux``, ``FLUX.1-dev``, ``black-forest-labs/FLUX.1-dev``.

    A catalog name, but for case, blanks and punctuation; a title; a repository on the hub, with or without its owner;
    an alias of the entry. RequestError where nothing, or more than one model, is called so; it says what is near.
    """
    known = _models(*_files_now())
    return known[names.find(field, text, _model_names(known), names.model_spelling)]


def find_build(text: str, *, field: str = "model") -> str:
    """The name of the build that a text names, as the laws know it: ``FLUX.1-dev`` is flux, ``Flux-nano`` flux-nano."""
    text = text.strip()
    if has_build(text):
        return text
    base = text.removesuffix(NANO)
    entry = find_model(base, field=field)
    return entry.name if base == text else entry.at_nano().name


def model_name(text: str) -> str:
    """The model of a table's row: as ``find_build`` knows it, or as it is where nothing is near, for rows may be of
    models that the catalog lacks. RequestError where something is: a slip must not pass for another model."""
    return _own_or_near(find_build, text)


def gpu_name(text: str) -> str:
    """The GPU type of a table's row, likewise."""
    return _own_or_near(lambda text: find_gpu(text).name, text)


def _own_or_near(find: Callable[[str], str], text: str) -> str:
    try:
        return find(text)
    except names.UnknownName as error:
        if error.near is not None and not names.is_version(text.strip(), error.near):
            raise
        return text.strip()


def check(configuration: Configuration) -> None:
    """Raise RequestError where the catalog lacks the model or the GPU type, or the model cannot take the rest."""
    model(configuration.model).check(configuration)
    gpu(configuration.gpu)


def build(name: str) -> Model:
    """A model by the name of its build, as the laws know it: ``flux``, or ``flux-nano`` for its nano size."""
    if name.endswith(NANO) and name not in _models(*_files_now()):
        return model(name.removesuffix(NANO)).at_nano()
    return model(name)


def has_build(name: str) -> bool:
    """Whether ``build`` knows it."""
    known = _models(*_files_now())
    base = known.get(name.removesuffix(NANO))
    return name in known or (base is not None and any(c.nano for c in base.components.values()))


def digest(configuration: Configuration) -> str:
    """Digest of the two entries that a job of this configuration uses and of the rules they are read by.

    Two hosts that agree on it measure the same thing, whatever else is in their catalogs. RequestError where the
    catalog lacks either.
    """
    uses = (model(configuration.model).fingerprints[configuration.size], gpu(configuration.gpu).fingerprint)
    return hashlib.sha256(" ".join((str(rules.VERSION), *uses)).encode()).hexdigest()[:16]


def home() -> Path:
    """FARM_HOME, or ~/.local/share/joulefarm."""
    return _home(os.environ.get("FARM_HOME") or "~/.local/share/joulefarm", os.environ.get("HOME"))


@cache
def _home(path: str, _user: str | None) -> Path:
    """Asked for with every look into the catalog, hence kept."""
    return Path(path).expanduser()


def _gpu_names(entries: Mapping[str, Gpu]) -> dict[str, tuple[str, ...]]:
    return {name: names.gpu_names(name, entry.title, entry.nvml_names) for name, entry in entries.items()}


def _model_names(entries: Mapping[str, Model]) -> dict[str, tuple[str, ...]]:
    return {name: names.model_names(entry.title, entry.repository, entry.aliases) for name, entry in entries.items()}


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
    _models(*_files_now())[entry.name] = entry


def refresh() -> None:
    """Forget what was read, shipped files too."""
    _read_as.clear()
    _gpus.cache_clear()
    _models.cache_clear()
