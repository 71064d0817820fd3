"""What is traced: the components of a pipeline, of the catalog or of a folder in diffusers layout. No torch here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from analysis.work.format import forwards
from analysis.work.trace.conventions import CONVENTIONS, Convention, as_configured, convention, of_denoiser
from analysis.work.trace.decoders import decoder
from farm.catalog import Component, Model
from farm.catalog.rules import Forwards, Rules, largest_side
from farm.domain.errors import RequestError

_DENOISERS: Final = ("transformer", "unet", "decoder")  # the last of Stable Cascade
CONTROL: Final = "controlnet"
CONTROLS: Final = ("ControlNetModel", "FluxControlNetModel", "SD3ControlNetModel")
_DECODERS: Final = ("vae", "movq", "vqgan")
# Classes that live in the folder of a pipeline of diffusers, which model_index.json names instead of the library.
OF_PIPELINES: Final = {
    "ChatGLMModel": "diffusers.pipelines.kolors.text_encoder",
    "PaellaVQModel": "diffusers.pipelines.deprecated.wuerstchen",
}
_MAX_JSON_BYTES: Final = 4_000_000  # a config.json has a few kilobytes
_MAX_LAYERS: Final = 128  # of one kind; the deepest published language model has 126, the deepest denoiser 60
_MAX_LAYERS_OF_BLOCK: Final = 32  # of a U-Net; published ones have up to 10
_MAX_WIDTH: Final = 100_000  # channels and the like; the widest published layer has 65,536
# A class whose name diffusers replaces when it reads a folder -> by norm_type, the class that it builds instead.
_RENAMED: Final = {
    "Transformer2DModel": {"ada_norm_zero": "DiTTransformer2DModel", "ada_norm_single": "PixArtTransformer2DModel"}
}
_MAX_WHOLE: Final = 10_000_000  # no published width or vocabulary comes near


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The components that do work in one image, and how the pipeline class uses them."""

    name: str
    cls: str
    components: Mapping[str, Component]
    denoiser: str
    decoder: str
    convention: Convention

    @property
    def digest(self) -> str:
        """Hash of everything that the work depends on."""
        parts = {name: [c.library, c.cls, dict(c.config)] for name, c in self.components.items()}
        further = [self.convention.further] if self.convention.further else []
        text = json.dumps([self.cls, parts, repr(self.convention), *further], sort_keys=True, default=list)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def decodes_in_fp32(self) -> bool:
        """Under fp16, as pipelines do whose decoder overflows there."""
        component = self.components[self.decoder]
        asked = component.config.get("force_upcast", decoder(component.cls).upcast)
        return self.convention.upcast_decode and bool(asked)

    def forwards(self, phase: str, cfg: bool) -> Forwards:
        """The forward passes of a phase for one image, one denoising step."""
        convention = self.convention
        return forwards(self.name, convention.cfg, phase, cfg, 1, negative=convention.negative)

    def check_frames(self, frames: int) -> None:
        """Raise RequestError for more than one frame of a pipeline that makes images."""
        if frames > 1 and not self.convention.video:
            raise RequestError("frames", frames, f"1: {self.name} makes images")

    @property
    def missing(self) -> tuple[str, ...]:
        """Text encoders that are not here and without which the text phase is not known."""
        return tuple(name for name in self.convention.needed if name not in self.components)

    @property
    def rules(self) -> Rules:
        """Which images it can make, as of a model of the catalog."""
        denoiser, decoder = self.components[self.denoiser], self.components[self.decoder]
        return Rules(
            model=self.name,
            guidance=self.convention.cfg,
            multiple=self.convention.multiple,
            largest_side=largest_side(denoiser.name, denoiser.cls, denoiser.config, decoder.config),
        )


def from_catalog(model: Model) -> Pipeline:
    """The pipeline of a catalog model; its own cfg and multiple win over those of the pipeline class."""
    convention = replace(_convention(model.pipeline), cfg=model.guidance, multiple=model.multiple)
    return _assemble(model.name, model.pipeline, model.components, convention)


def from_folder(path: Path) -> Pipeline:
    """A folder with model_index.json and a config.json a component. RequestError, naming the file, otherwise."""
    if not path.is_dir():
        raise RequestError("model", str(path), "a catalog name or a folder in diffusers layout")
    index = _read_object(path / "model_index.json", "a folder that holds model_index.json")
    cls = index.get("_class_name")
    if not isinstance(cls, str):
        raise RequestError("model_index.json", cls, "_class_name, the pipeline class")
    convention = _convention(cls)
    wanted = {*convention.text, *_DENOISERS, *_DECODERS, *([CONTROL] if convention.control else [])}
    components = {}
    for name, entry in index.items():
        if name in wanted and entry not in (None, [None, None]):
            components[name] = _component(path, name, entry, text=name in convention.text)
    for name, component in components.items():
        if name in _DENOISERS:
            convention = of_denoiser(cls, component.cls, convention)
            if component.cls != convention.denoiser:
                raise RequestError(f"{name}: denoiser", component.cls, f"{convention.denoiser} in a {cls}")
    convention = as_configured(convention, index, {name: part.config for name, part in components.items()})
    return _assemble(path.name or str(path), cls, components, convention)


def _component(path: Path, name: str, entry: Any, *, text: bool) -> Component:
    if not (isinstance(entry, list) and len(entry) == 2 and all(isinstance(x, str) for x in entry)):
        raise RequestError(f"model_index.json {name}", entry, "[library, class]")
    named, cls = str(entry[0]), str(entry[1])
    _check_class(name, named, cls, text=text)
    library = OF_PIPELINES.get(cls, named)  # ours to import, whatever the folder calls it
    config = _read_object(path / name / "config.json", f"a folder that holds {name}/config.json")
    _check_numbers(f"{name}/config.json", config)
    phase = "text" if text else "denoise" if name in (*_DENOISERS, CONTROL) else "decode"
    built = _RENAMED.get(cls, {}).get(str(config.get("norm_type")), cls)
    return Component(name, library, built, phase, config, {})


def _check_class(name: str, library: str, cls: str, *, text: bool) -> None:
    """RequestError for a class that cannot be traced, by its name alone: importing torch to find out takes seconds."""
    if cls in OF_PIPELINES:
        return
    if library not in ("diffusers", "transformers"):
        raise RequestError(name, library, "a class of diffusers or transformers")
    if name in _DECODERS:
        decoder(cls)
    if name == CONTROL and cls not in CONTROLS:
        raise RequestError(name, cls, f"one of {', '.join(CONTROLS)}")
    if text and (library != "transformers" or not _transformers_has(cls)):
        raise RequestError(name, f"{library} {cls}", "a model class of transformers")


def _transformers_has(cls: str) -> bool:
    names = _transformers_names()
    return names is None or cls in names


@cache
def _transformers_names() -> frozenset[str] | None:
    """All that transformers exports, which takes it most of a second to list; None where it is not installed, which is
    said where it is needed."""
    try:
        import transformers  # names only: torch is not imported by it
    except ImportError:
        return None
    return frozenset(dir(transformers))


def _assemble(name: str, cls: str, components: Mapping[str, Component], convention: Convention) -> Pipeline:
    def one_of(names: tuple[str, ...], role: str) -> str:
        present = [n for n in names if n in components]
        if not present:
            raise RequestError("model_index.json", cls, f"a {role} ({' or '.join(names)})")
        return present[0]

    denoiser, decoder = one_of(_DENOISERS, "denoiser"), one_of(_DECODERS, "decoder")
    control = [one_of((CONTROL,), "ControlNet")] if convention.control else []
    kept = {n: c for n, c in components.items() if n in convention.text or n in (denoiser, decoder, *control)}
    return Pipeline(name, cls, kept, denoiser, decoder, convention)


def _convention(cls: str) -> Convention:
    known = convention(cls)
    if known is None:
        raise RequestError("pipeline class", cls, f"one of {', '.join(sorted(CONVENTIONS))}")
    return known


def _check_numbers(where: str, value: Any, key: str = "") -> None:
    """RequestError for a number that no model has: building what it describes would not end."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_numbers(f"{where} {name}", inner, name)
    elif isinstance(value, list):
        for inner in value:
            _check_numbers(where, inner, key)
    elif isinstance(value, int) and abs(value) > _largest(key):
        raise RequestError(where, value, f"a number that a model can have, at most {_largest(key)}")


def _largest(key: str) -> int:
    if "layers" in key:
        return _MAX_LAYERS_OF_BLOCK if key.endswith("per_block") else _MAX_LAYERS
    if any(word in key for word in ("channels", "dim", "hidden_size", "intermediate_size", "heads")):
        return _MAX_WIDTH
    return _MAX_WHOLE


def _read_object(path: Path, remedy: str) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise RequestError("config", str(path), f"at most {_MAX_JSON_BYTES} bytes")
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise RequestError("model", str(path.parent), remedy) from None
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError("config", str(path), f"readable JSON ({error})") from None
    if not isinstance(data, dict):
        raise RequestError("config", str(path), "a JSON object")
    return data
