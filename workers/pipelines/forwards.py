"""Counts what the denoiser was really asked to do."""

from __future__ import annotations

from typing import Any

import torch


class ForwardCounter:
    """Forward calls of a module since ``reset`` and the number of samples in each; a few microseconds a call."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.count = 0
        self.batch = 0
        self._hook = module.register_forward_pre_hook(self._see, with_kwargs=True)

    def reset(self) -> None:
        self.count = self.batch = 0

    def remove(self) -> None:
        self._hook.remove()

    def _see(self, _module: torch.nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        sample = arguments[0] if arguments else named.get("hidden_states", named.get("sample"))
        self.count += 1
        self.batch = max(self.batch, int(sample.shape[0]))  # type: ignore[union-attr]
