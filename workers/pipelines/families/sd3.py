"""Stable Diffusion 3 and 3.5: an MMDiT; CFG is one forward of twice the batch, on where guidance_scale exceeds 1."""

from __future__ import annotations

from typing import Any

import torch

from workers.pipelines.base import POOLED, Embeddings, Pipeline


class StableDiffusion3(Pipeline):
    def encode(self, prompts: list[str]) -> Embeddings:
        cfg = self.configuration.cfg
        embeddings = self.pipe.encode_prompt(
            prompts,
            None,
            None,
            device=self.device,
            do_classifier_free_guidance=cfg,
            negative_prompt=[self.negative_prompt] * len(prompts) if cfg else None,
        )
        return dict(zip(POOLED, embeddings, strict=True))

    def guidance(self) -> dict[str, Any]:
        return {"guidance_scale": 7.0 if self.configuration.cfg else 1.0}

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        vae = self.pipe.vae
        latents = (latents / vae.config.scaling_factor) + vae.config.shift_factor
        pixels: torch.Tensor = vae.decode(latents, return_dict=False)[0]
        return pixels


FAMILY = StableDiffusion3
