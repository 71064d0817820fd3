"""Operations of PyTorch as they are counted: their class, and what of a call its tensors tell."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

import torch

aten = torch.ops.aten


class Dims(NamedTuple):
    """A product of b matrices m x k and k x n.

    Convolution: m output positions of the whole batch, n output channels of a group, k taps x input channels, b groups.
    Attention: b = batch x heads, m query tokens, n key tokens, k head width. Other classes: zeros.
    """

    b: int = 0
    m: int = 0
    n: int = 0
    k: int = 0


_NO_DIMS: Final = Dims()


@dataclass(frozen=True, slots=True)
class Op:
    """One dispatched operation. FLOPs: 2 a multiply-add, zero outside of matrix products."""

    name: str  # aten packet, such as addmm
    kind: str  # matmul, attention, convolution, elementwise, layout, gather or view
    precision: str  # low (the model's own 16- or 32-bit type) or fp32 where the code insists on it
    flops: int = 0
    read_bytes: int = 0  # activations
    weight_bytes: int = 0
    write_bytes: int = 0
    dims: Dims = _NO_DIMS


ATTENTION: Final = (aten._scaled_dot_product_flash_attention, aten._scaled_dot_product_efficient_attention)
_MATMUL: Final = (aten.mm, aten.addmm, aten.bmm, aten.baddbmm)
GATHER: Final = (aten.embedding, aten.index_select, aten.index, aten.gather)
_LAYOUT: Final = (
    aten.clone,
    aten.copy_,
    aten._to_copy,
    aten.cat,
    aten.stack,
    aten.repeat,
    aten.constant_pad_nd,
    aten.replication_pad2d,
    aten.upsample_nearest2d,
    aten._upsample_nearest_exact2d,
    aten.pixel_shuffle,
    aten.pixel_unshuffle,
)
WITHOUT_KERNEL: Final = (
    aten.empty,
    aten.empty_like,
    aten.empty_strided,
    aten.new_empty,
    aten.detach,
    aten.lift_fresh,
    aten._unsafe_view,
    aten._reshape_alias,
)


def kind_of(packet: Any) -> str:
    """Tell the class of an operation that runs a kernel and gathers nothing."""
    if packet in ATTENTION:
        return "attention"
    if packet in _MATMUL:
        return "matmul"
    if packet is aten.convolution:
        return "convolution"
    return "layout" if packet in _LAYOUT else "elementwise"


def dims_of(packet: Any, args: Any, out: Any) -> Dims:
    """Read off the product that a call computes; zeros where it is none."""
    if packet in ATTENTION:
        query, key = args[0].shape, args[1].shape
        return Dims(query[0] * query[1], query[2], key[2], query[3])
    if packet in _MATMUL:
        left, right = args[-2:] if packet in (aten.mm, aten.bmm) else args[1:3]
        batch = left.shape[0] if left.dim() == 3 else 1
        return Dims(batch, left.shape[-2], right.shape[-1], left.shape[-1])
    if packet is aten.convolution:
        weight, groups, transposed = args[1], args[8], args[6]
        if transposed:  # weights are (inputs, taps x outputs): a product for every position of the input
            positions = args[0].numel() // args[0].shape[1]
            return Dims(groups, positions, weight[0].numel(), weight.shape[0] // groups)
        positions = out.numel() // out.shape[1]
        return Dims(groups, positions, weight.shape[0] // groups, weight[0].numel())
    return _NO_DIMS


@cache
def is_view(func: Any) -> bool:
    """Tell whether what it returns shares the memory of an argument."""
    returned = func._schema.returns
    return bool(returned) and any(r.alias_info is not None and not r.alias_info.is_write for r in returned)


@cache
def makes_anew(func: Any) -> bool:
    """Tell whether all that it returns is new: neither its arguments nor views of them."""
    views = is_view(func) or func.overloadpacket in WITHOUT_KERNEL
    return func.namespace == "aten" and not views and not func._schema.is_mutable


def bytes_of(x: torch.Tensor) -> int:
    """Count the bytes of a tensor; dimensions that are expanded once."""
    elements = 1
    for size, stride in zip(x.shape, x.stride(), strict=True):
        elements *= size if stride else 1
    return elements * int(x.element_size())
