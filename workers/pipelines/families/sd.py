"""Stable Diffusion 1 and 2: a U-Net; CFG is one forward of twice the batch, on where guidance_scale exceeds 1."""

from __future__ import annotations

from typing import Any

import torch

from workers.pipelines.base import Embeddings, Pipeline


class StableDiffusion(Pipeline):
    options = {"requires_safety_checker": False}  # noqa: RUF012  (a ClassVar of the base)

    def encode(self, prompts: list[str]) -> Embeddings:
        cfg = self.configuration.cfg
        negative = [self.negative_prompt] * len(prompts) if cfg else None
        positive_embeds, negative_embeds = self.pipe.encode_prompt(prompts, self.device, 1, cfg, negative)
        return {"prompt_embeds": positive_embeds, "negative_prompt_embeds": negative_embeds}

    def guidance(self) -> dict[str, Any]:
        return {"guidance_scale": 7.5 if self.configuration.cfg else 1.0}

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        vae = self.pipe.vae
        pixels: torch.Tensor = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
        return pixels


FAMILY = StableDiffusion
