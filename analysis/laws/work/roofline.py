"""Seconds that one forward pass keeps a GPU busy, by class of work: the roofline (Williams et al., CACM 52, 2009).

Every operation of :mod:`analysis.work.format` takes the longer of two times, its FLOPs at the rate that its kernel
reaches and its bytes at the memory's, and the time from one kernel to the next. It counts to the class of its kernel
where the arithmetic takes longest, else to ``memory``, as do the times between kernels. Matrix products are cut into
tiles, and tiles run in waves of one for each multiprocessor; the last wave is rarely full, so the best choice of tile
decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from analysis.laws.work.hardware import KERNEL_SECONDS, SHARES, SOFTMAX_WIDTH, Machine
from analysis.table import Floats, Integers
from analysis.work import load
from analysis.work.format import polynomial

CLASSES: Final = tuple(name for name in SHARES if name != "wait")  # matmul attention fp32 convolution memory
_PLACE: Final = {name: place for place, name in enumerate(CLASSES)}
_HEAD_WIDTH: Final = 128.0  # at which the rate of attention is stated
_QUERY_TILE, _KEY_TILE, _HEAD_TILE = 128, 64, 32

# (rows, columns, share of the rate that a tile of this size reaches), as cuBLAS names its kernels; splits of k.
_TENSOR_TILES: Final = ((256, 128, 1.0), (128, 256, 1.0), (128, 128, 0.9), (128, 64, 0.75), (64, 64, 0.55))
_PLAIN_TILES: Final = ((128, 128, 1.0), (128, 64, 0.93), (64, 64, 0.85))
# Parts into which kernels cut k to fill a wave: those of plain cores and of cuDNN do, half-precision products seldom.
_SPLITS: Final = {"matmul": (1,), "fp32": (1, 2, 3, 4, 6, 8), "convolution": (1, 2, 4, 8)}
_SPLIT_COST: Final = 1.05
_SHORTEST_SPLIT: Final = 512  # of k
_FEW: Final = 8192  # tiles whose waves are worked out beforehand: 20 waves of the largest chip
_ARITHMETIC: Final = ("matmul", "attention", "convolution")  # kinds; all others only move bytes


def distinct_rows(*columns: NDArray[Any]) -> tuple[Integers, Integers]:
    """The first row of each of those that differ in a column, and which of these every row is as, (n,)."""
    code = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        if column.dtype.kind == "i":  # none of these is negative or large
            code = code * (int(column.max(initial=0)) + 1) + column
        else:
            values, place = np.unique(column, return_inverse=True)
            code = code * len(values) + place
    _, first, place = np.unique(code, return_index=True, return_inverse=True)
    return first.astype(np.int64), place.astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Moving:
    """What all operations of one scale move that do nothing else: bytes, as coefficients [1, 5] of a polynomial."""

    scale: float
    moved: Floats


@dataclass(frozen=True, slots=True)
class _Part:
    """G groups of operations of one kind and width, that multiply. Coefficients of polynomials are [G, 5], of one
    operation."""

    kind: str
    wide: bool  # in fp32
    scale: Floats  # [G]
    count: Floats  # [G] operations in each group
    moved: Floats  # bytes
    flops: Floats
    dims: tuple[Floats, ...]  # b, m, n, k


@dataclass(frozen=True, slots=True)
class Pass:
    """The operations of one forward pass; views run no kernel."""

    parts: tuple[_Part, ...]
    moving: tuple[_Moving, ...]
    kernels: float
    dispatches: float
    sized: bool  # whether it depends on the size of an image; that of text encoders does not


@lru_cache(maxsize=512)
def pass_of(model: str, _digest: str, phase: str, precision: str, single: bool, decoder: int) -> Pass:
    """Collect the operations of a model's forward pass; arguments as of :meth:`analysis.work.format.ModelWork.groups`,
    and the digest of the model's work."""
    groups = load.load(model).groups(phase, precision, single, decoder)
    kind, count, c = np.array(groups.kind, dtype=np.str_), groups.count, groups.coefficients
    wide = np.array(groups.precision, dtype=np.str_) == "fp32"
    moved = c["read_bytes"] + c["write_bytes"] + c["weight_bytes"]  # of all operations of a group
    multiply = np.isin(kind, _ARITHMETIC)
    run = kind != "view"
    moving = [
        _Moving(float(scale), moved[run & ~multiply & (groups.scale == scale)].sum(axis=0, keepdims=True))
        for scale in np.unique(groups.scale[run & ~multiply])
    ]
    parts = []
    for name, in_fp32 in sorted(set(zip(kind[multiply].tolist(), wide[multiply].tolist(), strict=True))):
        at = np.flatnonzero(multiply & (kind == name) & (wide == in_fp32))
        dims = tuple(c[side][at] for side in ("b", "m", "n", "k"))
        each = count[at, None]
        parts.append(_Part(name, in_fp32, groups.scale[at], count[at], moved[at] / each, c["flops"][at] / each, dims))
    sized = any(c[name][:, [1, 3, 4]].any() for name in c)  # the terms by cells
    return Pass(tuple(parts), tuple(moving), float(count[run].sum()), float(count.sum()), sized)


def seconds_of(work: Pass, sizes: tuple[NDArray[Any], ...], devices: Machine, place: Integers) -> Floats:
    """Seconds of one forward pass of n sizes by class, (n, classes). ``sizes``: widths, heights, layers and samples,
    (n,) each; ``place`` (n,): each one's device.

    What is to be done is worked out once a size, how long it takes once a size and device.
    """
    first, size = distinct_rows(*(sizes if work.sized else sizes[-1:]))
    width, height, layers, samples = (values[first] for values in sizes)
    one, same = distinct_rows(place, size)  # those of one device beside each other: they look up the same waves
    size, device = size[one], devices.take(place[one])
    total = np.zeros((len(one), len(CLASSES)))
    batch = samples[:, None].astype(np.float64)
    memory = np.full((len(one), 1), KERNEL_SECONDS * work.kernels)
    for moving in work.moving:
        moved = polynomial(moving.moved, _cells(width, height, layers, moving.scale), batch)
        memory += _rows(moved, size) / device.bandwidth
    for part in work.parts:
        cells = _cells(width, height, layers, part.scale)
        asked = (polynomial(c, cells, batch) for c in (part.moved, part.flops, *part.dims))
        moved, flops, *dims = (_rows(values, size) for values in asked)
        name, arithmetic = _arithmetic(part.kind, part.wide, flops, *dims, device=device)
        moved = moved / device.bandwidth
        bound = arithmetic > moved
        total[:, _PLACE[name]] += np.where(bound, arithmetic, 0.0) @ part.count
        memory[:, 0] += np.where(bound, 0.0, moved) @ part.count
    total[:, _PLACE["memory"]] += memory[:, 0]
    return total[same]


def _rows(values: Floats, rows: Integers) -> Floats:
    """Those rows; the one row there is, where all are alike."""
    return values if len(values) == 1 else values[rows]


def _cells(width: Integers, height: Integers, layers: Floats, scale: Floats | float) -> Floats:
    """Cells of an image, or of the latent frames of a video, at each scale, [N, G]; [N, 1] where all are one."""
    scales = np.unique(scale)
    cells: Floats = np.ceil(width[:, None] / scales) * np.ceil(height[:, None] / scales) * layers[:, None]
    return cells if len(scales) == 1 else cells[:, np.searchsorted(scales, scale)]


def _arithmetic(
    kind: str, wide: bool, flops: Floats, b: Floats, m: Floats, n: Floats, k: Floats, *, device: Machine
) -> tuple[str, Floats]:
    """Class and seconds of the arithmetic of one operation."""
    if kind == "matmul":
        if wide:
            return "fp32", flops / device.fp32 * waste("fp32", b, m, n, k, device.multiprocessors)
        return "matmul", flops / device.tensor * waste("matmul", b, m, n, k, device.multiprocessors)
    if kind == "attention":
        return "attention", flops * _attention_waste(m, n, k) / (device.wide_attention if wide else device.attention)
    rate = device.wide_convolution if wide else device.convolution
    product = flops / rate * waste("convolution", b, m, n, k, device.multiprocessors)
    if not (b > 1).any():
        return "convolution", product
    # Depthwise and grouped ones have no product worth tiling: plain cores, each input read again for every tap.
    return "convolution", np.where(b > 1, flops / (device.fp32 / 2), product)


def waste(name: str, b: Floats, m: Floats, n: Floats, k: Floats, processors: Floats | float) -> Floats:
    """How much longer b products m x k x n of a class take than at full rate: partial tiles and partial waves."""
    shapes = _PLAIN_TILES if name == "fp32" else _TENSOR_TILES
    down = {rows: b * np.ceil(m / rows) for rows, _, _ in shapes}
    across = {columns: np.ceil(n / columns) for _, columns, _ in shapes}
    waves = _waves_of(name, k, processors)
    best = None
    for rows, columns, share in shapes:
        cost = waves(down[rows] * across[columns]) * (rows * columns / share)
        best = cost if best is None else np.minimum(best, cost)
    assert best is not None
    result: Floats = best * processors / np.maximum(b * m * n, 1.0)
    return result


def _waves_of(name: str, k: Floats, processors: Floats | float) -> Callable[[Floats], Floats]:
    """How many waves so many tiles take, k cut into the best number of parts.

    Of few tiles it is looked up. Beyond 20 waves a partial one costs less than cutting k does.
    """
    if _SPLITS[name] == (1,):
        return lambda tiles: np.asarray(np.ceil(tiles / processors))
    several = tuple(sorted(set(np.ravel(processors).tolist())))
    table = _waves_of_few(name, several)
    limits = np.array(_SPLITS[name][1:]) * _SHORTEST_SPLIT
    row = np.searchsorted(several, processors) * len(_SPLITS[name]) + np.searchsorted(limits, k, side="right")
    start = row * _FEW

    def waves(tiles: Floats) -> Floats:
        result: Floats = np.ceil(tiles / processors)
        few = tiles < _FEW
        if few.all():
            return table.take(start + tiles.astype(np.int64))
        if few.any():
            result = np.broadcast_to(result, np.broadcast_shapes(result.shape, np.shape(start))).copy()
            at = np.broadcast_to(few, result.shape)
            begin, these = (np.broadcast_to(values, result.shape)[at] for values in (start, tiles))
            result[at] = table.take(begin + these.astype(np.int64))
        return result

    return waves


@lru_cache(maxsize=64)
def _waves_of_few(name: str, several: tuple[float, ...]) -> Floats:
    """Waves by number of multiprocessors, by how often k may be cut, and by number of tiles, flat."""
    tiles, rows = np.arange(_FEW, dtype=np.float64), []
    for processors in several:
        waves = np.ceil(tiles / processors)
        for split in _SPLITS[name]:
            waves = np.minimum(waves, np.ceil(tiles * split / processors) / split * _SPLIT_COST)
            rows.append(waves)
    return np.concatenate(rows)


def _attention_waste(m: Floats, n: Floats, k: Floats) -> Floats:
    """Partial tiles of queries and keys, heads padded to tiles, exponentials that narrow heads amortise less."""
    m, n, k = np.maximum(m, 1.0), np.maximum(n, 1.0), np.maximum(k, 1.0)
    tiles = np.ceil(m / _QUERY_TILE) * _QUERY_TILE / m * (np.ceil(n / _KEY_TILE) * _KEY_TILE / n)
    heads = np.ceil(k / _HEAD_TILE) * _HEAD_TILE / k
    result: Floats = tiles * (heads + SOFTMAX_WIDTH / k) / (1 + SOFTMAX_WIDTH / _HEAD_WIDTH)
    return result
