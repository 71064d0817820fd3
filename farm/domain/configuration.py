"""A configuration: one point of a sweep, and the identity under which it is measured once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final, Self

from farm.domain.errors import RequestError
from farm.domain.parsing import is_absent, parse_precision, parse_switch, parse_whole, split_sides

PRECISIONS: Final = ("fp16", "bf16", "fp32")
WEIGHTS: Final = ("random", "pretrained")
SIZES: Final = ("full", "nano")

# Bounds are far beyond any published use; they exist so that a slipped digit is refused, not queued.
MAX_SIDE: Final = 8192
MAX_STEPS: Final = 1000
MAX_PROMPTS: Final = 1_000_000
MAX_BATCH: Final = 1024
MAX_FRAMES: Final = 4096
MAX_SEED: Final = 2**63 - 1


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Configuration:
    """What is measured. Two equal configurations are the same measurement; replicates are more jobs of one."""

    model: str  # catalog name
    gpu: str  # catalog name of the GPU type that is measured, not the queue it travels by
    width: int  # pixels
    height: int  # pixels
    steps: int  # denoising steps
    precision: str  # fp16, bf16 or fp32
    cfg: bool  # classifier-free guidance, truly on or off
    prompts: int  # images in total
    batch: int = 1  # images at once
    weights: str = "random"  # random or pretrained
    size: str = "full"  # full or nano
    seed: int = 0
    frames: int = 1  # of a video; 1 for an image

    def __post_init__(self) -> None:
        for name in ("model", "gpu"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value or len(value) > 200:
                raise RequestError(name, value, "a name from the catalog")
        _whole("width", self.width, 8, MAX_SIDE)
        _whole("height", self.height, 8, MAX_SIDE)
        _whole("steps", self.steps, 1, MAX_STEPS)
        _whole("prompts", self.prompts, 1, MAX_PROMPTS)
        _whole("batch", self.batch, 1, MAX_BATCH)
        _whole("seed", self.seed, 0, MAX_SEED)
        _whole("frames", self.frames, 1, MAX_FRAMES)
        _one_of("precision", self.precision, PRECISIONS)
        _one_of("weights", self.weights, WEIGHTS)
        _one_of("size", self.size, SIZES)
        if not isinstance(self.cfg, bool):
            raise RequestError("cfg", self.cfg, "true or false")
        if self.batch > self.prompts:
            raise RequestError("batch", self.batch, f"at most prompts ({self.prompts})")

    @property
    def pixels(self) -> int:
        """How many pixels one image has."""
        return self.width * self.height

    @property
    def key(self) -> str:
        """Identity: 32 hex digits of the SHA-256 of the canonical JSON of all fields.

        Without the frames of an image: databases of version 0.1.0, which knew none, hold its key.
        """
        values = self.to_dict()
        if self.frames == 1:
            del values["frames"]
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def pipeline(self) -> tuple[str, str, str, str]:
        """What a worker keeps loaded: a change of any of these is a pipeline load."""
        return (self.model, self.precision, self.size, self.weights)

    def label(self) -> str:
        """The configuration in one line, for logs and tables.

        >>> asked = {"model": "flux", "gpu": "a100", "resolution": 512, "steps": 20, "precision": "fp16", "cfg": 1}
        >>> Configuration.from_mapping({**asked, "prompts": "25"}).label()
        'flux 512x512 T20 fp16 cfg N25'
        """
        parts = [self.model, f"{self.width}x{self.height}", f"T{self.steps}", self.precision]
        parts += ["cfg"] if self.cfg else []
        parts += [f"F{self.frames}"] if self.frames > 1 else []
        parts += [f"N{self.prompts}"] + ([f"B{self.batch}"] if self.batch > 1 else [])
        return " ".join(parts + ([self.size] if self.size != "full" else []))

    def to_dict(self) -> dict[str, Any]:
        """Every field by its name; :meth:`from_mapping` takes it back."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_mapping(cls, row: Mapping[str, Any]) -> Self:
        """Read a configuration from a row of a table or a JSON document; ``resolution`` (512, or 512x768) may stand for
        both sides, texts for numbers.

        Keys that are no field of a configuration are ignored. Raises RequestError naming the field, also where the
        resolution is not that of width and height beside it.
        """
        values = {name: row[name] for name in cls.__dataclass_fields__ if not is_absent(row.get(name))}
        side = row.get("resolution")
        named = {} if is_absent(side) else dict(zip(("width", "height"), split_sides(side), strict=True))
        twice = named.keys() & values.keys()
        values = named | values
        for name in REQUIRED:
            if name not in values:
                raise RequestError("resolution" if name in ("width", "height") else name, None, "required")
        for name in values:
            if name in WHOLE:
                values[name] = parse_whole(name, values[name])
            elif name in TEXTS:
                values[name] = str(values[name]).strip()
        values["precision"] = parse_precision(values["precision"])
        for name in sorted(twice):
            if parse_whole(name, named[name]) != values[name]:
                raise RequestError(
                    "resolution", side, f"that of {name} ({values[name]}), or only one of the two columns"
                )
        values["cfg"] = parse_switch("cfg", values["cfg"])
        return cls(**values)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote, in this version or an earlier one, beside other keys. RequestError for a
        value out of bounds; nothing is converted, so that it takes a third of the time of :meth:`from_mapping`."""
        values = {name: document[name] for name in cls.__dataclass_fields__ if name in document}
        values["cfg"] = bool(document["cfg"])
        return cls(**values)


# Fields by what they hold and whether a row must name them.
TEXTS: Final = ("model", "gpu", "precision", "weights", "size")
WHOLE: Final = ("width", "height", "steps", "prompts", "batch", "seed", "frames")
DEFAULTS: Final[Mapping[str, Any]] = {f.name: f.default for f in fields(Configuration) if f.default is not MISSING}
REQUIRED: Final = tuple(f.name for f in fields(Configuration) if f.name not in DEFAULTS)


def _whole(field: str, value: Any, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise RequestError(field, value, f"a whole number from {low} to {high}")


def _one_of(field: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise RequestError(field, value, f"one of {', '.join(allowed)}")
