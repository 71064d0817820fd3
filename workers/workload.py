"""What the procedure measures: one configuration, made ready on one device. Knows no diffusers and no meter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

# Entering synchronises the device and opens the window of a phase; leaving synchronises and closes it.
PhaseWindow = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchResult:
    """What the pipeline did for one batch of prompts."""

    images: int
    forwards: int  # denoiser forward calls
    forward_batch: int  # samples in each
    finite: bool  # False: NaN or infinity in the output, which changes the switching power


class Workload(Protocol):
    """A loaded pipeline bound to a configuration."""

    def run(self, prompts: Sequence[str], seed: int, phase: PhaseWindow) -> BatchResult:
        """Make one image a prompt, all prompts as one batch, each phase inside ``phase("text"|"denoise"|"decode")``."""

    def synchronize(self) -> None:
        """Wait until the device has done everything asked of it."""

    def environment(self) -> dict[str, object]:
        """Versions, revision, weights, TF32 flags, peak memory."""
