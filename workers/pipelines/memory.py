"""Memory of the device: its errors put into the project's words, its peak, and giving it back."""

from __future__ import annotations

import gc
import resource
import sys
from collections.abc import Callable
from typing import Final, TypeVar

import torch

from farm.domain import AttemptError, DeviceLost, OutOfMemory

T = TypeVar("T")

# What torch says where it raises a plain RuntimeError; tried in this order.
_SIGNS: Final[tuple[tuple[str, type[AttemptError]], ...]] = (
    ("out of memory", OutOfMemory),
    ("DefaultCPUAllocator", OutOfMemory),
    ("CUBLAS_STATUS_ALLOC_FAILED", OutOfMemory),
    ("CUDNN_STATUS_ALLOC_FAILED", OutOfMemory),
    ("CUDA error", DeviceLost),
    ("CUDNN_STATUS_EXECUTION_FAILED", DeviceLost),
    ("CUBLAS_STATUS_EXECUTION_FAILED", DeviceLost),
)


def guarded(device: torch.device, call: Callable[[], T]) -> T:
    """Return ``call()``; raises OutOfMemory (with the peak seen) and DeviceLost in place of what torch raises.

    They are raised after torch's error is gone: its traceback holds every tensor of the failed call, and a worker that
    kept it as a cause could not serve the next job.
    """
    try:
        return call()
    except (RuntimeError, MemoryError) as error:
        error_type = device_error(error)
        if error_type is None:
            raise
        message = _one_line(error)
    if error_type is DeviceLost:
        raise DeviceLost(message[:300])
    peak = peak_bytes(device)
    release(device)
    raise OutOfMemory(f"does not fit {device}: {message[:300]}", peak_bytes=peak)


def peak_bytes(device: torch.device) -> int:
    """Most bytes held at once: by tensors since ``reset_peak`` on a GPU, by the process since it began on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def reset_peak(device: torch.device) -> None:
    """Begin anew with what ``peak_bytes`` says of a GPU."""
    if device.type == "cuda":
        torch.cuda.init()  # before it, the allocator has no statistics to reset
        torch.cuda.reset_peak_memory_stats(device)


def release(device: torch.device) -> None:
    """Give back to the device what nothing refers to any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def device_error(error: Exception) -> type[AttemptError] | None:
    """The project's error for what torch raised; None where it has nothing to do with the device and its memory."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return OutOfMemory
    message = _one_line(error)
    return next((error_type for sign, error_type in _SIGNS if sign in message), None)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
