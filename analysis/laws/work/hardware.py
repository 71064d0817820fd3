"""What is known of a GPU beforehand, as the rates and watts that a roofline needs.

Peaks, bandwidth and board power are the published ones of the catalog. What kernels really reach of a peak is published
for a few boards only; the catalog's ``[reach]`` holds those, with source, and :data:`REACH` stands in elsewhere.
Kernels that were written for Ampere gain with multiprocessors and their clock on newer GPUs, not with tensor cores or
memory that Ampere did not have: their rates are bounded by so much a multiprocessor and cycle.
The law ``work`` treats the watts as priors: measured rows override them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date
from functools import lru_cache
from typing import Any, Final

import numpy as np

from farm import catalog
from farm.catalog import Gpu

# Best kernel at its best size, as a share of the dense peak, where the catalog has no figure for the board.
REACH: Final = {
    "matmul": 0.80,  # tensor cores, cuBLAS: 0.80 to 0.87 measured on A100, H100 and GH200 (ml-engineering, MAMF table)
    "attention": 0.70,  # FlashAttention-2 forward, head width 128: up to 0.73 of an A100 (arXiv 2307.08691)
    "convolution": 0.45,  # cuDNN called with NCHW tensors: half of peak less the conversions of layout; an estimate
    "memory": 0.90,  # contiguous copies; strided ones take instructions beside it, see ELEMENTWISE_BYTES
}
# Without tensor cores cuBLAS reaches this share of the peak, by the fused multiply-adds of a multiprocessor and cycle:
# 128 of them share the shared memory that feeds 64 (0.93 of an A100, 0.65 to 0.75 of GA102, AD102 and GH100 boards).
PLAIN_REACH: Final = {64: 0.80, 128: 0.66}
# A multiprocessor and cycle of kernels written for Ampere:
ATTENTION_FLOPS: Final = 1450.0  # FlashAttention-2 forward: 224 TFLOP/s of an A100 (arXiv 2307.08691), 370 of an H100
# PyTorch took FlashAttention-2 on every board until 2.11 (23 March 2026), whose wheels bring a cuDNN (9.15.1 or newer)
# that it prefers on Hopper and on data-centre Blackwell: aten/src/ATen/native/transformers/cuda/sdp_utils.cpp.
CUDNN_SINCE: Final = date(2026, 3, 23)
CUDNN_ATTENTION: Final = "attention_cudnn"  # in the catalog's [reach] of boards on which it does
WIDE_ATTENTION_FLOPS: Final = 205.0  # CUTLASS's fp32 attention: WIDE_ATTENTION of the peak of an A100
ELEMENTWISE_BYTES: Final = 42.0  # instructions of eager kernels beside their bytes: 0.70 of an A100's bandwidth in all
SHAPE: Final = 0.8  # a model's matrices reach this part of what the best size reaches (tiles and waves come on top)
WIDE_ATTENTION: Final = 0.2  # fp32 attention multiplies as three TF32 products (CUTLASS) at 0.6 of the peak of TF32
# The softmax of one score costs what this much more of a head's width would. In energy: ten plain instructions of 30 pJ
# (18 J/TFLOP of fp32 products) and an exponential, over 4 FLOPs of 1.2 pJ. In time alone it would be 27 on an A100,
# from 16 exponentials a clock and multiprocessor.
SOFTMAX_WIDTH: Final = 80.0

# Classes that the tensor cores do. A board whose peak is cut by its vendor reaches it below its power limit; the
# catalog's ``reach.power`` says at which share of (board power - idle).
_TENSOR_CLASSES: Final = ("matmul", "attention", "convolution")

# Watts above idle while a class of work runs, as a share of (board power - idle).
SHARES: Final = {
    "matmul": 1.00,  # large products hold a board at its power limit
    "attention": 1.00,
    "fp32": 0.85,
    "convolution": 1.00,
    "memory": 0.50,  # streaming kernels draw 200 to 260 W on an A100
    "wait": 0.11,  # clocks up, nothing to do: 82 to 100 W on an A100, 120 to 145 W on an H100
}
KERNEL_SECONDS: Final = 2.5e-6  # from the end of a kernel to the next one's work: 2 to 3 us, whatever the kernel does
LIMIT_EXPONENT: Final = 0.7  # of the energy of work in the power limit: 0.7 of the limit take a quarter of it away
# Of the energy of work in the clock, by the same chip: power goes with clock x energy of work, as limits act on both.
CLOCK_EXPONENT: Final = LIMIT_EXPONENT / (1 - LIMIT_EXPONENT)
LEAST_OF_WORK: Final = 0.5  # of that energy at any clock: voltage falls with the clock to 0.7 of its own, no further


@dataclass(frozen=True, slots=True)
class Machine:
    """What one GPU type reaches in one precision, per second; or an array of each, for many GPUs at once."""

    tensor: Any  # FLOP/s of matmul in the low precision
    attention: Any  # FLOP/s at head width 128
    wide_attention: Any  # FLOP/s of attention in fp32
    convolution: Any  # FLOP/s in the low precision
    wide_convolution: Any  # FLOP/s in fp32, which cuDNN runs as TF32
    fp32: Any  # FLOP/s of plain cores
    bandwidth: Any  # bytes/s
    multiprocessors: Any

    def take(self, places: Any) -> Machine:
        """Those of the places, of many GPUs at once."""
        return Machine(*(getattr(self, field.name)[places] for field in fields(Machine)))


def machines(gpus: Sequence[tuple[str, bool, float]], precision: str) -> Machine:
    """The machines of n catalog GPUs, each with cuDNN's attention or not, at a part of its full clock; every field
    (n, 1)."""
    of_gpus = [machine(gpu, precision, cudnn, clock) for gpu, cudnn, clock in gpus]
    columns = (np.array([getattr(each, field.name) for each in of_gpus], dtype=np.float64) for field in fields(Machine))
    return Machine(*(column[:, None] for column in columns))


@lru_cache(maxsize=1024)
def machine(gpu: str, precision: str, cudnn: bool = False, clock: float = 1.0) -> Machine:
    """The machine of a catalog GPU, with cuDNN's attention where ``cudnn`` says so and the catalog has its rate, whose
    multiprocessors run at a part ``clock`` of their full clock: what the memory moves does not follow it.

    ``bf16`` runs at the rate that the catalog states for it, which is that of fp16 on every GPU since Ampere.
    RequestError for a name that the catalog does not have.
    """
    return _machine(catalog.gpu(gpu), precision, cudnn, clock)


def has_cudnn_attention(gpu: str) -> bool:
    """Whether PyTorch since CUDNN_SINCE does attention on this catalog GPU by cuDNN."""
    return CUDNN_ATTENTION in catalog.gpu(gpu).reach


def watts(gpu: str) -> tuple[float, ...]:
    """Watts above idle of a catalog GPU, in the order of SHARES."""
    headroom, power = headroom_watts(gpu), catalog.gpu(gpu).reach.get("power", 1.0)
    return tuple(headroom * share * (power if name in _TENSOR_CLASSES else 1.0) for name, share in SHARES.items())


@lru_cache(maxsize=256)
def headroom_watts(gpu: str) -> float:
    """Watts above idle of a catalog GPU whose chip runs at its full clock; a smaller board may allow less."""
    board = catalog.gpu(gpu)
    return (board.chip_watts or board.board_power_watts) - board.idle_watts


def energy_of_work(clock: Any) -> Any:
    """What a part of the full clock makes of the energy above idle of the same work: a factor."""
    return np.maximum(clock**CLOCK_EXPONENT, LEAST_OF_WORK)


def _machine(gpu: Gpu, precision: str, cudnn: bool, clock: float) -> Machine:
    peak = {name: rate * clock for name, rate in gpu.peak.items()}
    low = peak["bf16" if precision == "bf16" else "fp16"]
    cycles = math.inf if gpu.boost_clock is None else gpu.multiprocessors * gpu.boost_clock * clock
    multiply_adds = peak["fp32"] / cycles / 2
    plain = PLAIN_REACH[min(PLAIN_REACH, key=lambda cores: abs(cores - multiply_adds))]
    reach = {**REACH, "fp32": plain, **gpu.reach}
    attention = min(low * reach["attention"], ATTENTION_FLOPS * cycles)
    if cudnn and CUDNN_ATTENTION in reach:
        attention = low * reach[CUDNN_ATTENTION]
    copies, elementwise = gpu.bandwidth * reach["memory"], ELEMENTWISE_BYTES * cycles
    return Machine(
        tensor=low * reach["matmul"] * SHAPE,
        attention=attention,
        wide_attention=min(peak["tf32"] * WIDE_ATTENTION, WIDE_ATTENTION_FLOPS * cycles),
        convolution=low * reach["convolution"],
        wide_convolution=peak["tf32"] * reach["convolution"],
        fp32=peak["fp32"] * reach["fp32"],
        bandwidth=1 / (1 / copies + 1 / elementwise),
        multiprocessors=gpu.multiprocessors,
    )
