"""PixArt-Sigma: a small DiT behind T5; CFG is one forward of twice the batch, on where guidance_scale exceeds 1. The
pipeline would round sizes to those of its training set (``use_resolution_binning``): here, what is asked for is made.
"""

from __future__ import annotations

from typing import Any

import torch

from workers.pipelines.base import Embeddings, Pipeline


class PixArtSigma(Pipeline):
    def encode(self, prompts: list[str]) -> Embeddings:
        embeds, mask, negative_embeds, negative_mask = self.pipe.encode_prompt(
            prompts, self.configuration.cfg, negative_prompt=self.negative_prompt, device=self.device
        )
        return {
            "prompt_embeds": embeds,
            "prompt_attention_mask": mask,
            "negative_prompt_embeds": negative_embeds,
            "negative_prompt_attention_mask": negative_mask,
            "negative_prompt": None,  # its default is a text, which would contradict the embeddings
        }

    def guidance(self) -> dict[str, Any]:
        return {"guidance_scale": 4.5 if self.configuration.cfg else 1.0, "use_resolution_binning": False}

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        vae = self.pipe.vae
        pixels: torch.Tensor = vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor, return_dict=False)[0]
        return pixels


FAMILY = PixArtSigma
