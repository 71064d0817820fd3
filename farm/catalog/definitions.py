"""What the catalog says of a type of device and of a model, with the rules that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from farm.catalog import rules
from farm.catalog.rules import Forwards, Rules
from farm.domain.configuration import Configuration
from farm.domain.errors import RequestError

NANO = "-nano"  # ends the name of a build at nano size
KINDS = ("gpu", "processor")


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
    memory_bytes: float  # all that NVML states of a board as it ships; error correction takes a sixteenth of GDDR6
    bandwidth: float  # bytes per second
    board_power_watts: float
    idle_watts: float  # typical, at rest; energies of laws are above it
    chip_watts: float | None  # what the same chip draws at its full clock, where this board allows less; else None
    context_idle_watts: float | None  # a context keeps the clocks up and nothing runs; None where nobody published it
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
    video: bool  # makes videos, of as many frames as it is asked for
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
        """Raise RequestError, naming the field, where the model cannot make the images or videos of a configuration.

        Bounds that hold for every model are the configuration's own.
        """
        if configuration.size == "nano":
            self._require_nano()
        limits = self.rules(configuration.size)
        limits.check_image(configuration.width, configuration.height, configuration.cfg)
        limits.check_steps(configuration.steps)
        self.check_frames(configuration.frames)

    def check_frames(self, frames: int) -> None:
        """Raise RequestError for more than one frame of a model that makes images."""
        if frames != 1 and not self.video:
            raise RequestError("frames", frames, f"1: {self.name} makes images")

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
