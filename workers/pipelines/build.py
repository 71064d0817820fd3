"""Pipelines with random weights: the published architecture, created directly on the device in the wanted precision.

No download, no licence to accept, no copy in the host's memory: inside ``target`` torch creates every parameter where
and in the type it is needed. (Creating on the meta device and ``to_empty`` afterwards would leave the tables that are
no parameters, such as position embeddings, as garbage.)

The initial weights are those of diffusers and transformers themselves: layers keep variances near or below one, and
normalised residual streams grow slowly, so half precision stays finite at full depth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import diffusers
import torch
import transformers

from farm.catalog import Component, Model
from farm.domain import Infeasible
from workers.pipelines.tokenizers import TOKENIZERS

WEIGHTS_SEED: Final = 0  # of all random weights: a configuration's seed is that of its images

_LIBRARIES: Final = {"diffusers": diffusers, "transformers": transformers}


def build(
    model: Model, size: str, dtype: torch.dtype, device: torch.device, options: Mapping[str, Any]
) -> diffusers.DiffusionPipeline:
    """The model's pipeline at ``size`` (``full`` or ``nano``) with random weights, ready to run.

    The same weights whenever torch, the device's kind and the precision are the same. ``options`` are further
    arguments of the pipeline's constructor. Raises Infeasible where a class is not in the installed version.
    """
    pipeline_class = find_class("diffusers", model.pipeline)
    tokenizers = {name: TOKENIZERS[spec["kind"]](int(spec["length"])) for name, spec in model.tokenizers.items()}
    parts = {name: _component(part, size, dtype, device, tokenizers) for name, part in model.components.items()}
    scheduler = find_class("diffusers", model.scheduler["class"])(**model.scheduler.get("config", {}))
    components = {**parts, **tokenizers, "scheduler": scheduler, **options}
    pipeline = pipeline_class(**absent(pipeline_class, components), **components)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def absent(pipeline_class: type[Any], components: Mapping[str, Any]) -> dict[str, None]:
    """None for each part that the constructor asks for and the catalog leaves out, such as safety checkers."""
    expected, _optional = pipeline_class._get_signature_keys(pipeline_class)
    return dict.fromkeys(set(expected) - set(components))


def find_class(library: str, name: str) -> type[Any]:
    """A class of diffusers or transformers by name; Infeasible where the installed version lacks it."""
    exported = getattr(_LIBRARIES[library], name, None) if library in _LIBRARIES else None
    if not isinstance(exported, type):
        version = getattr(_LIBRARIES.get(library), "__version__", "unknown")
        raise Infeasible(f"{library} {version} has no class {name}: install a version that has it")
    return exported


@contextmanager
def target(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Tensors created inside land on ``device``, floating point ones as ``dtype``. The generators are left as found."""
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.set_default_dtype(dtype)
        try:
            with device:
                yield
        finally:
            torch.set_default_dtype(before)


def keep_in_fp32(module: torch.nn.Module, dtype: torch.dtype) -> None:
    """Widen the layers that ``from_pretrained`` keeps in single precision (T5's ``wo``), by transformers' own rule."""
    names: set[str] = set(getattr(module, "_keep_in_fp32_modules_strict", None) or ())
    if dtype == torch.float16:
        names |= set(getattr(module, "_keep_in_fp32_modules", None) or ())
    if names and dtype != torch.float32:
        for name, layer in module.named_modules():
            if name.rpartition(".")[2] in names:
                layer.float()


def _component(
    part: Component, size: str, dtype: torch.dtype, device: torch.device, tokenizers: Mapping[str, Any]
) -> torch.nn.Module:
    part_class = find_class(part.library, part.cls)
    config = dict(part.nano if size == "nano" else part.config)
    if not config:
        raise Infeasible(f"the catalog has no {size} configuration of {part.name} ({part.cls})")
    with target(device, dtype):
        torch.manual_seed(WEIGHTS_SEED)
        if part.library == "diffusers":
            module: torch.nn.Module = part_class(**config)
        else:
            config_class = getattr(part_class, "config_class")  # noqa: B009  (an attribute of every model class)
            config |= _special_ids(config_class, tokenizers.get(part.name.replace("text_encoder", "tokenizer")))
            module = part_class(config_class(**config))
    keep_in_fp32(module, dtype)
    return module.eval().requires_grad_(False)


def _special_ids(config_class: type[Any], tokenizer: Any) -> dict[str, int]:
    """CLIP takes the state at the end-of-text token: the encoder must know which number the tokenizer gives it."""
    if tokenizer is None or config_class is not transformers.CLIPTextConfig:
        return {}
    return {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
