"""Instantiates the components of a pipeline on the meta device, from their configurations alone."""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any, Final

import torch
from torch.overrides import TorchFunctionMode

from analysis.work.trace.pipeline import OF_PIPELINES
from farm.catalog import Component
from farm.domain.errors import RequestError

MAX_PARAMETERS: Final = 10**12  # of one component; the largest published have a twentieth
MAX_TENSORS: Final = 10_000  # of one component; a sixty-layer denoiser makes 2,000
DTYPES: Final = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


def build(component: Component, precision: str) -> torch.nn.Module:
    """The component's module on the meta device.

    What ``from_pretrained`` keeps in fp32 under fp16 (T5's ``wo``) is kept here too. RequestError where the library has
    no such class or the class does not take the configuration.
    """
    with quiet():
        cls = _find(component)
    try:
        with quiet(), _target("meta", DTYPES[precision]):
            module: torch.nn.Module = _instantiate(cls, component)
    except Exception as error:
        raise RequestError(
            f"{component.name} config", component.cls, f"a configuration that the class takes ({summary(error)})"
        ) from error
    if parameters(module) > MAX_PARAMETERS:
        raise RequestError(f"{component.name} config", f"{parameters(module):.3g} parameters", "what a model can have")
    _cast_stored_buffers(module, DTYPES[precision])
    _undivide(module)
    if precision == "fp16":
        _keep_in_fp32(module, getattr(cls, "_keep_in_fp32_modules", None) or ())
    return module.eval()  # weights keep requires_grad, as from_pretrained leaves them: matmul chooses its kernel by it


def summary(error: Exception) -> str:
    """The first line of an error of torch or a model's code."""
    return f"{type(error).__name__}: {error}".split("\n")[0][:200]


def parameters(module: torch.nn.Module) -> int:
    """Number of parameters; shared ones once, buffers not."""
    return sum(p.numel() for p in module.parameters())


def _find(component: Component) -> Any:
    if component.library not in ("diffusers", "transformers", *OF_PIPELINES.values()):
        raise RequestError(component.name, component.library, "a class of diffusers or transformers")
    module = importlib.import_module(component.library)
    if component.cls in OF_PIPELINES:
        _take_out_of_torchscript(module)
    cls = getattr(module, component.cls, None)
    if not isinstance(cls, type) or not issubclass(cls, torch.nn.Module):
        raise RequestError(component.name, component.cls, f"a model class of {component.library}")
    return cls


def _take_out_of_torchscript(module: Any) -> None:
    """Compiled functions do not dispatch their operations one by one; the Python that they were made from does."""
    for name, value in list(vars(module).items()):
        if isinstance(value, torch.jit.ScriptFunction):
            setattr(module, name, value._torchdynamo_inline)


def _instantiate(cls: Any, component: Component) -> Any:
    config = {k: v for k, v in component.config.items() if not k.startswith("_")}
    of_transformers = getattr(cls, "config_class", None) is not None
    if component.cls == "ChatGLMModel":  # its own fast start would make real weights, of a type of its own
        return cls(cls.config_class(**{k: v for k, v in config.items() if k != "torch_dtype"}), empty_init=False)
    return cls(cls.config_class(**config)) if of_transformers else cls.from_config(config)


def _cast_stored_buffers(module: torch.nn.Module, dtype: torch.dtype) -> None:
    """Buffers that a checkpoint holds (SD3's position embedding) come in its type; the others stay as made."""
    stored = module.state_dict().keys()
    for name, buffer in list(module.named_buffers()):
        if name in stored and buffer.dtype.is_floating_point:
            owner, _, attribute = name.rpartition(".")
            setattr(module.get_submodule(owner), attribute, buffer.to(dtype))


def _undivide(module: torch.nn.Module) -> None:
    """Convolutions of CogVideoX that cut what is larger than 2 GB into pieces are done at once: as much work, and
    operations that do not depend on the size."""
    for part in module.modules():
        if type(part).__name__ == "CogVideoXSafeConv3d":
            part.forward = MethodType(torch.nn.Conv3d.forward, part)


def _keep_in_fp32(module: torch.nn.Module, names: tuple[str, ...]) -> None:
    pattern = re.compile("|".join(rf"(^|\.){re.escape(n)}(\.|$)" for n in names) or r"(?!)")
    for name, part in module.named_modules():
        if pattern.search(name):
            part.to(torch.float32)


@contextmanager
def _target(device: str, dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device), _Counted():
            yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Configuration classes warn of unknown keys and missing extras; none of it changes what is counted."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    before = of_diffusers.get_verbosity(), of_transformers.get_verbosity()
    of_diffusers.set_verbosity(of_diffusers.CRITICAL), of_transformers.set_verbosity(of_transformers.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        of_diffusers.set_verbosity(before[0]), of_transformers.set_verbosity(before[1])


class _Counted(TorchFunctionMode):  # type: ignore[misc]
    """Ends what would go on for minutes: products of counts in a configuration that no model has."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.made += func is torch.empty
        if self.made > MAX_TENSORS:
            raise ValueError(f"more than {MAX_TENSORS} tensors")
        return func(*args, **(kwargs or {}))
