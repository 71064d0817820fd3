"""What one forward pass is asked for, and the sizes that follow from it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch

from analysis.work.trace.conventions import Convention

PRIOR_CELL: Final = 42.67  # pixels that a latent of Stable Cascade's prior is wide: its resolution_multiple
MEGAPIXEL: Final = 1024 * 1024


def of_area(pixels: int, ratio: float) -> tuple[int, int]:
    """Width and height in multiples of 32, as Qwen-Image-Edit resizes the image that it is given."""
    width = math.sqrt(pixels * ratio)
    return round(width / 32) * 32, round(width / ratio / 32) * 32


@dataclass(frozen=True, slots=True)
class Request:
    """One forward pass. ``batch`` counts samples of the forward, so batched CFG doubles it."""

    width: int
    height: int
    batch: int
    dtype: torch.dtype
    convention: Convention
    down: int  # pixels a latent cell is wide
    frames: int = 1  # of the latent
    image_tokens: int = 0  # of an image that the text encoder sees

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of the latent."""
        scale = self.convention.latent_scale
        if scale:
            rows, columns = self.prior_cells
            return int(rows * scale), int(columns * scale)
        return self.height // self.down, self.width // self.down

    @property
    def prior_cells(self) -> tuple[int, int]:
        """Rows and columns of the latent that Stable Cascade's prior makes."""
        return math.ceil(self.height / PRIOR_CELL), math.ceil(self.width / PRIOR_CELL)

    @property
    def reference_cells(self) -> tuple[int, int]:
        """Rows and columns of the latent of the image that is attended to beside the one that is made; 0 for none."""
        if not self.convention.reference:
            return 0, 0
        if self.convention.reference == "same":
            return self.cells
        width, height = of_area(MEGAPIXEL, self.width / self.height)
        return height // self.down, width // self.down

    @property
    def latents(self) -> list[tuple[int, int]]:
        """Rows and columns of the latent of each image that is attended to."""
        return [cells for cells in (self.cells, self.reference_cells) if all(cells)]

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height of that image as the text encoder sees it."""
        return of_area(self.convention.shown_pixels, self.width / self.height)

    def new(self, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
        """A tensor without data of that shape for each sample, of the model's type unless another is given."""
        return torch.empty(self.batch, *shape, dtype=dtype or self.dtype, device="meta")

    def latent(self, channels: int) -> torch.Tensor:
        """The latents of all samples, (batch, channels, rows, columns)."""
        return self.new(channels, *self.cells)


Inputs = Callable[[torch.nn.Module, Request], dict[str, Any]]  # of a denoiser class: the keywords of its forward
