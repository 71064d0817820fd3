"""Stable Diffusion XL and its distilled kin: a U-Net told the image's size; CFG is one forward of twice the batch, on
where guidance_scale exceeds 1. Without a negative prompt, the usual call, the other half is zeros: no text is encoded
for it. The VAE overflows in fp16 and is widened for the time of decoding."""

from __future__ import annotations

from typing import Any

import torch

from workers.pipelines.base import POOLED, Embeddings, Pipeline


class StableDiffusionXL(Pipeline):
    options = {"add_watermarker": False}  # noqa: RUF012  (a ClassVar of the base)

    def encode(self, prompts: list[str]) -> Embeddings:
        embeddings = self.pipe.encode_prompt(
            prompts, device=self.device, do_classifier_free_guidance=self.configuration.cfg
        )
        return dict(zip(POOLED, embeddings, strict=True))

    def guidance(self) -> dict[str, Any]:
        return {"guidance_scale": 5.0 if self.configuration.cfg else 1.0}

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        vae = self.pipe.vae
        widen = vae.dtype == torch.float16 and vae.config.force_upcast
        if widen:
            vae.to(dtype=torch.float32)
            latents = latents.float()
        pixels: torch.Tensor = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
        if widen:
            vae.to(dtype=torch.float16)
        return pixels


FAMILY = StableDiffusionXL
