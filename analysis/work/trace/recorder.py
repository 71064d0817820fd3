"""Writes down every operation that a forward pass dispatches: class, FLOPs, bytes, dimensions, precision."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Final, NamedTuple

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import flop_registry

from analysis.work.trace.operations import (
    ATTENTION,
    GATHER,
    WITHOUT_KERNEL,
    Op,
    bytes_of,
    dims_of,
    is_view,
    kind_of,
    makes_anew,
)

aten = torch.ops.aten


_PLAIN: Final = (bool, int, float, complex, str, torch.dtype, torch.device, torch.layout, torch.memory_format)


class _NotPlain(Exception):
    """An argument that is no plain value and no tensor without data."""


class _Form(NamedTuple):
    """A tensor but for its data."""

    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype


class KnownData(TorchFunctionMode):  # type: ignore[misc]
    """Answers what code asks of data that the meta device does not have.

    Numbers of a tensor are asked for to learn how many tokens of a prompt are no padding: ``unpadded``; counts of
    values, how many tokens go to each of ``experts``: as many to each.
    """

    def __init__(self, unpadded: int, experts: int) -> None:
        super().__init__()
        self._unpadded, self._experts = unpadded, experts

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.tolist and args[0].is_meta:
            return torch.full(args[0].shape, self._unpadded).tolist()
        if func is torch.Tensor.bincount and args[0].is_meta:
            bounds = [args[0].numel() * i // self._experts for i in range(self._experts + 1)]
            return torch.tensor([end - start for start, end in pairwise(bounds)])
        if func is torch.tensor and self._experts and isinstance(args[0], list):  # HiDream reads its sizes back
            return func(*args, **{**(kwargs or {}), "device": "cpu"})
        return func(*args, **(kwargs or {}))


class FusedAttention(TorchFunctionMode):  # type: ignore[misc]
    """Sends scaled dot product attention to the fused operations, as CUDA does.

    The meta device would decompose it into bmm, softmax and bmm: the same FLOPs, but a tokens x tokens matrix in memory
    that no fused kernel writes.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.scaled_dot_product_attention:
            return self._fused(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    @staticmethod
    def _fused(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        if enable_gqa and key.size(-3) != query.size(-3):
            groups = query.size(-3) // key.size(-3)
            with _disable_current_modes():  # the CUDA kernels read grouped heads as they are
                key, value = (x.repeat_interleave(groups, -3) for x in (key, value))
        if attn_mask is None and query.size(-1) <= 256:
            out = aten._scaled_dot_product_flash_attention(query, key, value, dropout_p, is_causal, scale=scale)
        else:
            out = aten._scaled_dot_product_efficient_attention(
                query, key, value, attn_mask, False, dropout_p, is_causal, scale=scale
            )
        return out[0]


class Recorder(TorchDispatchMode):  # type: ignore[misc]
    """Appends an Op for everything dispatched inside. ``low``: the model's own type; weights are told by storage.

    Bytes are those of every operation's inputs and outputs, nothing fused and nothing cached: what eager execution asks
    of the memory. Expanded dimensions are read once, a gather moves only what it takes.

    A model repeats its blocks and a video its frames: what an operation on inputs of the same shapes gave before is
    not asked of PyTorch again, which takes a millisecond each time.
    """

    def __init__(self, low: torch.dtype, weights: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.ops: list[Op] = []
        self._low = low
        self._weights = {w.untyped_storage()._cdata for w in weights}
        self._known: dict[object, tuple[Op, Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is aten._local_scalar_dense.default and args[0].is_meta:
            # Data decide only one thing in these models: whether a mask is full and can be left out. It is not full.
            return torch.zeros((), dtype=args[0].dtype).item()
        key = self._key(func, args, kwargs) if makes_anew(func) else None
        if key in self._known:
            op, form = self._known[key]
            self.ops.append(op)
            return _like(form)
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        if len({x.device for x in tensors}) > 1:  # numbers that the code knows, such as positions, meet the rest
            args, kwargs = tree_map(_without_data, (args, kwargs))
        out = func(*args, **kwargs)
        if func.namespace != "prim":
            self.ops.append(self._describe(func, args, kwargs, out))
            if key is not None and all(x.is_meta for x in tree_leaves(out) if isinstance(x, torch.Tensor)):
                self._known[key] = self.ops[-1], _form(out)
        return out

    def _key(self, func: Any, args: Any, kwargs: Any) -> object | None:
        """Equal for two calls that differ in nothing but data; None where an argument says more than that."""
        places: dict[int, int] = {}  # of the tensors: one that is given twice is read once
        try:
            parts = [self._part(x, places) for x in args]
            parts += [(name, self._part(x, places)) for name, x in kwargs.items()]
        except _NotPlain:
            return None
        return func, *parts

    def _part(self, x: Any, places: dict[int, int]) -> object:
        if isinstance(x, torch.Tensor):
            if not x.is_meta:
                raise _NotPlain
            place = places.setdefault(id(x), len(places))
            weight = x.untyped_storage()._cdata in self._weights
            return place, x.shape, x.stride(), x.dtype, weight, x.is_conj(), x.is_neg()
        if isinstance(x, list | tuple):
            return tuple(self._part(y, places) for y in x)
        if x is None or isinstance(x, _PLAIN):
            return type(x), x  # 1, 1.0 and True are equal and promote differently
        raise _NotPlain

    def _describe(self, func: Any, args: Any, kwargs: Any, out: Any) -> Op:
        packet = func.overloadpacket
        name = packet.__name__
        if packet in WITHOUT_KERNEL or is_view(func):
            return Op(name, "view", "low")
        inputs = {id(x): x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}.values()
        outputs = [x for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
        if packet in ATTENTION:
            outputs = outputs[:1]  # the others are kept for a backward pass
        written = sum(map(bytes_of, outputs))
        if packet in GATHER:
            return Op(name, "gather", self._precision(outputs), read_bytes=written, write_bytes=written)
        weights = [x for x in inputs if x.untyped_storage()._cdata in self._weights]
        weight_bytes = sum(map(bytes_of, weights))
        formula = flop_registry.get(packet)
        return Op(
            name,
            kind_of(packet),
            self._precision(outputs),
            flops=int(formula(*args, **kwargs, out_val=out)) if formula else 0,
            read_bytes=sum(map(bytes_of, inputs)) - weight_bytes,
            weight_bytes=weight_bytes,
            write_bytes=written,
            dims=dims_of(packet, args, out),
        )

    def _precision(self, outputs: list[torch.Tensor]) -> str:
        """fp32 where the result is wider than the model's own type, else low."""
        floating = [x.dtype for x in outputs if x.dtype.is_floating_point]
        return "fp32" if floating and floating[0].itemsize > self._low.itemsize else "low"


def _without_data(x: Any) -> Any:
    return x.to("meta") if isinstance(x, torch.Tensor) else x


def _form(out: Any) -> Any:
    """What was returned, a form in the place of each tensor."""
    if isinstance(out, torch.Tensor):
        return _Form(out.shape, out.stride(), out.dtype)
    return type(out)(map(_form, out)) if type(out) in (list, tuple) else out


def _like(form: Any) -> Any:
    if isinstance(form, _Form):
        return torch.empty_strided(form.shape, form.stride, dtype=form.dtype, device="meta")
    return type(form)(map(_like, form)) if type(form) in (list, tuple) else form
