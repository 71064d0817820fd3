"""FLUX.1: an MMDiT with distilled guidance. CFG is a second forward a step, and on only with ``true_cfg_scale`` above 1
AND negative embeddings, both of them; one without the other is ignored in silence. ``guidance_scale`` is an input of
the distilled model and costs nothing."""

from __future__ import annotations

from typing import Any

import torch

from workers.pipelines.base import Embeddings, Pipeline


class Flux(Pipeline):
    def encode(self, prompts: list[str]) -> Embeddings:
        embeds, pooled, _ids = self.pipe.encode_prompt(prompts, None, device=self.device)
        embeddings: Embeddings = {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}
        if self.configuration.cfg:
            negative = [self.negative_prompt] * len(prompts)
            embeds, pooled, _ids = self.pipe.encode_prompt(negative, None, device=self.device)
            embeddings |= {"negative_prompt_embeds": embeds, "negative_pooled_prompt_embeds": pooled}
        return embeddings

    def guidance(self) -> dict[str, Any]:
        return {"guidance_scale": 3.5, "true_cfg_scale": 4.0 if self.configuration.cfg else 1.0}

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        here, vae = self.configuration, self.pipe.vae
        latents = self.pipe._unpack_latents(latents, here.height, here.width, self.pipe.vae_scale_factor)
        latents = (latents / vae.config.scaling_factor) + vae.config.shift_factor
        pixels: torch.Tensor = vae.decode(latents, return_dict=False)[0]
        return pixels


FAMILY = Flux
