"""Plays a CUDA device in every process of a rehearsal: what asks torch for one gets the processor, and while it works
the fake driver's device draws power. Python imports this by its name, where its folder is on PYTHONPATH.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

WATTS = {"text": 150.0, "denoise": 300.0, "decode": 220.0, "load": 250.0}
MOST_IMAGES = 64  # at once; a larger batch does not fit


class _Draws:
    """The fake device of the parent, attached when it first draws."""

    def __init__(self) -> None:
        self._gpu: Any = None

    @contextmanager
    def __call__(self, label: str) -> Iterator[None]:
        if self._gpu is None:
            from tests.fake_nvml import fake

            self._gpu = fake.attach()
        self._gpu.draw(WATTS[label])
        try:
            yield
        finally:
            self._gpu.draw(0.0)


_draws = _Draws()


def _patch_base(module: ModuleType) -> None:
    import torch

    named = module.torch_device

    def torch_device(name: str) -> torch.device:
        return torch.device("cpu") if name.startswith("cuda") else named(name)

    module.torch_device = torch_device  # type: ignore[attr-defined]
    phases = module.Pipeline._phases

    def _phases(self: Any, prompts: list[str], seed: int, phase: Callable[[str], Any]) -> bool:
        if len(prompts) > MOST_IMAGES:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 96.00 GiB.")

        @contextmanager
        def drawing(label: str) -> Iterator[None]:
            with phase(label), _draws(label):
                yield

        return bool(phases(self, prompts, seed, drawing))

    module.Pipeline._phases = _phases


def _patch_kernels(module: ModuleType) -> None:
    repeat = module.ConstantLoad.repeat

    def drawing(self: Any, copies: int) -> None:
        with _draws("load"):
            repeat(self, copies)

    module.ConstantLoad.repeat = drawing


_PATCHES = {"workers.pipelines.base": _patch_base, "workers.pipelines.kernels": _patch_kernels}


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules to patch as everybody does, and patches them when they were executed."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name not in _PATCHES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            _PATCHES[name](module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Finder())
