"""What a ControlNet takes, and what it gives to the denoiser that it runs beside."""

from __future__ import annotations

from typing import Any

import torch

from analysis.work.trace.request import Request


def control_inputs(control: Any, r: Request, inputs: dict[str, Any]) -> dict[str, Any]:
    """Make the keyword arguments of a ControlNet's forward pass beside a denoiser that takes ``inputs``."""
    c = control.config
    if type(control).__name__ == "ControlNetModel":
        return {**inputs, "controlnet_cond": r.new(c.conditioning_channels, r.height, r.width)}
    if type(control).__name__ == "SD3ControlNetModel":
        text = inputs["encoder_hidden_states"] if c.joint_attention_dim is not None else None
        cond = r.latent(c.in_channels + c.extra_conditioning_channels)
        return {**inputs, "encoder_hidden_states": text, "controlnet_cond": cond}
    hint = c.conditioning_embedding_channels is not None  # sees the image itself
    return {
        **inputs,
        "controlnet_cond": r.new(3, r.height, r.width) if hint else inputs["hidden_states"],
        "controlnet_mode": r.new(1, dtype=torch.int64) if c.num_mode is not None else None,
        "guidance": r.new(dtype=torch.float32) if c.guidance_embeds else None,
    }


def controlled(control: Any, output: Any) -> dict[str, Any]:
    """Name what the output of a ControlNet adds to the keyword arguments of the denoiser."""
    if type(control).__name__ == "ControlNetModel":
        return {
            "down_block_additional_residuals": output.down_block_res_samples,
            "mid_block_additional_residual": output.mid_block_res_sample,
        }
    if type(control).__name__ == "SD3ControlNetModel":
        return {"block_controlnet_hidden_states": output.controlnet_block_samples}
    return {
        "controlnet_block_samples": output.controlnet_block_samples,
        "controlnet_single_block_samples": output.controlnet_single_block_samples,
        "controlnet_blocks_repeat": control.input_hint_block is not None,
    }
