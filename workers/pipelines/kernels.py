"""Kernels of known size: a load that draws constant power, and how fast a device computes the four kinds of work.

The load is a copy of memory: its power depends neither on the data nor, on most boards, on a power limit, which matrix
products reach at once. The rates are those of torch's own kernels at sizes that large diffusion models use.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

import torch
from torch.nn import functional

from workers.pipelines import memory
from workers.pipelines.base import torch_device

COPY_BYTES: Final = 2**30  # of one copy on a GPU: many times what its caches hold
SMALL: Final = 64  # by so much smaller on a processor, where only the way through the code matters
CALIBRATION_SECONDS: Final = 0.2
RATE_SECONDS: Final = 0.4  # of each timed kernel
LAUNCHES: Final = 2000


class ConstantLoad:
    """Keeps a device busy with copies of memory, for as long as it is asked to."""

    def __init__(self, device: str = "cuda") -> None:
        self._device = torch_device(device)
        elements = COPY_BYTES // 4 // (1 if self._device.type == "cuda" else SMALL)
        self._source = torch.zeros(elements, device=self._device)
        self._target = torch.empty_like(self._source)
        self._copy()
        self._seconds = _seconds_each(self._device, self._copy, CALIBRATION_SECONDS)

    @property
    def bytes_per_second(self) -> float:
        """Bytes read and written in a second, while it runs."""
        return float(2 * self._source.numel() * self._source.element_size()) / self._seconds

    def run(self, seconds: float) -> None:
        """Copies for about so long, then waits until the device has done them."""
        self.repeat(self.copies(seconds))

    def copies(self, seconds: float) -> int:
        """How many copies take about so long."""
        return max(1, round(seconds / self._seconds))

    def repeat(self, copies: int) -> None:
        """Copy so many times, done when this returns: the same work every time."""
        for _ in range(copies):
            self._copy()
        _synchronize(self._device)

    def close(self) -> None:
        """Give the memory back. May be called twice; nothing else after it."""
        self._source = self._target = torch.empty(0)
        memory.release(self._device)

    def _copy(self) -> None:
        self._target.copy_(self._source)


def reached_rates(device: str = "cuda") -> dict[str, float]:
    """What torch's kernels reach in fp16: ``matmul``, ``attention``, ``convolution`` in FLOP/s, ``memory`` in bytes/s.

    A multiplication with its addition counts 2; a copy's bytes are read and written. fp32 at toy size on a processor.
    """
    where = torch_device(device)
    rates = {}
    with torch.no_grad():
        for name, rate in (("matmul", _matmul), ("attention", _attention), ("convolution", _convolution)):
            rates[name] = rate(where)
            memory.release(where)
    with closing(ConstantLoad(device)) as load:
        rates["memory"] = load.bytes_per_second
    return rates


def _matmul(device: torch.device) -> float:
    n = 8192 if device.type == "cuda" else 256
    a, b = _noise(device, n, n), _noise(device, n, n)
    return 2.0 * n**3 / _seconds_each(device, lambda: a @ b, RATE_SECONDS)


def _attention(device: torch.device) -> float:
    """24 heads of width 128 over 4608 tokens: FLUX at 1024 x 1024."""
    heads, tokens = (24, 4608) if device.type == "cuda" else (2, 128)
    q, k, v = (_noise(device, 1, heads, tokens, 128) for _ in range(3))
    flop = 4.0 * heads * tokens**2 * 128
    return flop / _seconds_each(device, lambda: functional.scaled_dot_product_attention(q, k, v), RATE_SECONDS)


def _convolution(device: torch.device) -> float:
    """3 x 3 over 320 channels at 128 x 128: the outer level of SDXL, eight samples at once."""
    channels, side = (320, 128) if device.type == "cuda" else (16, 32)
    image, kernel = _noise(device, 8, channels, side, side), _noise(device, channels, channels, 3, 3)
    flop = 2.0 * 8 * (channels * side * 3) ** 2
    return flop / _seconds_each(device, lambda: functional.conv2d(image, kernel, padding=1), RATE_SECONDS)


def _noise(device: torch.device, *shape: int) -> torch.Tensor:
    generator = torch.Generator(device).manual_seed(0)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    return torch.randn(*shape, generator=generator, device=device, dtype=dtype) / 8


def launch_seconds(device: str = "cuda") -> float:
    """Time from one small kernel to the next where nothing but the host holds them up, in seconds."""
    where = torch_device(device)
    small = torch.zeros(16, device=where)
    small.add_(1.0)
    _synchronize(where)
    started = time.perf_counter()
    for _ in range(LAUNCHES):
        small.add_(1.0)
    _synchronize(where)
    return (time.perf_counter() - started) / LAUNCHES


def _seconds_each(device: torch.device, call: Callable[[], object], seconds: float) -> float:
    """Time of one call in a run of about ``seconds``, after a first one that loads and chooses kernels."""
    call()
    count = 1
    while True:
        _synchronize(device)
        started = time.perf_counter()
        for _ in range(count):
            call()
        _synchronize(device)
        passed = time.perf_counter() - started
        if passed >= seconds / 2:
            return passed / count
        count = max(count + 1, min(10 * count, int(count * seconds / max(passed, 1e-6))))


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
