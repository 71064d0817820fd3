"""Qwen-Image: an MMDiT behind a language model. CFG is a second forward a step, on with ``true_cfg_scale`` above 1 and
a negative prompt (a blank, as its authors use it); ``guidance_scale`` is ignored. Text is not padded, and the VAE is
that of a video model: latents carry a time axis of one."""

from __future__ import annotations

from typing import Any

import torch

from workers.pipelines.base import Embeddings, Pipeline


class QwenImage(Pipeline):
    negative_prompt = " "

    def encode(self, prompts: list[str]) -> Embeddings:
        embeds, mask = self.pipe.encode_prompt(prompts, device=self.device)
        embeddings: Embeddings = {"prompt_embeds": embeds, "prompt_embeds_mask": mask}
        if self.configuration.cfg:
            embeds, mask = self.pipe.encode_prompt([self.negative_prompt] * len(prompts), device=self.device)
            embeddings |= {"negative_prompt_embeds": embeds, "negative_prompt_embeds_mask": mask}
        return embeddings

    def guidance(self) -> dict[str, Any]:
        return {"true_cfg_scale": 4.0 if self.configuration.cfg else 1.0}

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        here, vae = self.configuration, self.pipe.vae
        latents = self.pipe._unpack_latents(latents, here.height, here.width, self.pipe.vae_scale_factor)
        latents = latents.to(vae.dtype)
        mean = torch.tensor(vae.config.latents_mean).view(1, -1, 1, 1, 1).to(latents.device, latents.dtype)
        # The reciprocal of the reciprocal, in the latents' precision, as the pipeline rounds it.
        inverse_std = 1.0 / torch.tensor(vae.config.latents_std).view(1, -1, 1, 1, 1).to(latents.device, latents.dtype)
        pixels: torch.Tensor = vae.decode(latents / inverse_std + mean, return_dict=False)[0][:, :, 0]
        return pixels


FAMILY = QwenImage
