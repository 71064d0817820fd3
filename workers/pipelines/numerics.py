"""How torch computes: precisions, TF32, threads, determinism. Pinned at every load and recorded with every measurement.

"fp32" means two things in torch: by default cuDNN convolutions round their inputs to TF32 (10 bits of mantissa, tensor
cores) while matrix products do not. So the U-Net of Stable Diffusion 2 gains from TF32 and the transformers do not.
The paper changes neither flag, and its fp32 energies are those of torch's defaults; ``FARM_TF32=default`` (the
default) therefore pins exactly these. ``on`` and ``off`` set both alike.
"""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Final

import torch

DTYPES: Final = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}

# FARM_TF32 -> (convolutions, matrix products)
TF32: Final = {"default": (True, False), "on": (True, True), "off": (False, False)}

_THREADS: Final = torch.get_num_threads()  # as torch chose them, before anything was pinned


def pin(tf32: str, cpu_threads: int | None) -> None:
    """Set the process-wide switches, to be called at every load; no number of threads means torch's own choice."""
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = TF32[tf32]
    torch.backends.cudnn.benchmark = False  # its trial runs would fall into measured windows
    torch.set_num_threads(cpu_threads or _THREADS)


def describe(device: torch.device) -> dict[str, object]:
    """Everything that decides how the same configuration is computed here."""
    on_gpu = device.type == "cuda"
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "diffusers": metadata.version("diffusers"),
        "transformers": metadata.version("transformers"),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if on_gpu else None,
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "tf32_convolutions": bool(torch.backends.cudnn.allow_tf32),
        "tf32_matmuls": bool(torch.backends.cuda.matmul.allow_tf32),
        "cudnn_benchmark": bool(torch.backends.cudnn.benchmark),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cpu_threads": torch.get_num_threads(),
    }
