"""Seconds that a configuration keeps a GPU busy, by class of work: the roofline (Williams et al., CACM 52, 2009).

Every operation of :mod:`analysis.work.tables` takes the longest of three times: its FLOPs at the rate that its kernel
reaches, its bytes at the memory's, and the shortest time of any kernel. It counts to the class of its kernel where the
arithmetic takes longest, else to ``memory``. Matrix products are cut into tiles, and tiles run in waves of one for each
multiprocessor; the last wave is rarely full, so the best choice of tile decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from analysis.laws.hardware import KERNEL_SECONDS, SHARES, SOFTMAX_WIDTH, Machine, machine
from analysis.table import Floats, Integers, Table
from analysis.work import tables
from analysis.work.tables import PHASES, Groups

CLASSES: Final = tuple(name for name in SHARES if name != "wait")  # matmul attention fp32 convolution memory
_PLACE: Final = {name: place for place, name in enumerate(CLASSES)}
_HEAD_WIDTH: Final = 128.0  # at which the rate of attention is stated
_QUERY_TILE, _KEY_TILE, _HEAD_TILE = 128, 64, 32

# (rows, columns, share of the rate that a tile of this size reaches), as cuBLAS names its kernels; splits of k.
_TENSOR_TILES: Final = ((256, 128, 1.0), (128, 256, 1.0), (128, 128, 0.9), (128, 64, 0.75), (64, 64, 0.55))
_PLAIN_TILES: Final = ((128, 128, 1.0), (128, 64, 0.93), (64, 64, 0.85))
_PLAIN_SPLITS: Final = (1, 2, 3, 4, 6, 8)
_SPLIT_COST: Final = 1.05
_SHORTEST_SPLIT: Final = 512  # of k


@dataclass(frozen=True, slots=True)
class Demand:
    """What n configurations ask of their GPUs, slot by slot. A slot is a phase of a full batch or of the remainder.

    ``times`` (n, S): how often the slot runs. Of one run: ``seconds`` (n, S, 5) by class, ``dispatches`` (n, S) of the
    host, ``megapixels`` (n, S) of images handed over. ``watts`` (n, 6): centre of those above idle, by class and while waiting.
    """

    times: Floats
    seconds: Floats
    dispatches: Floats
    megapixels: Floats
    watts: Floats


def demand(table: Table) -> Demand:
    """The demand of every row. RequestError for a model or GPU that the catalog does not have."""
    full = np.minimum(table.batch, table.prompts)
    rest = table.prompts % full
    slots = [_slots(table, full, table.prompts // full)]
    if rest.any():
        slots.append(_slots(table, np.where(rest > 0, rest, full), (rest > 0).astype(np.int64)))
    first, group = table.groups("gpu")
    watts = np.array([machine(str(name), "fp16").watts for name in table.gpu[first]], dtype=np.float64)
    return Demand(
        times=np.concatenate([s[0] for s in slots], axis=1),
        seconds=np.concatenate([s[1] for s in slots], axis=1),
        dispatches=np.concatenate([s[2] for s in slots], axis=1),
        megapixels=np.concatenate([s[3] for s in slots], axis=1),
        watts=watts[group],
    )


def _slots(table: Table, batch: Integers, calls: Integers) -> tuple[Floats, Floats, Floats, Floats]:
    """times, seconds, dispatches, megapixels of the three phases at this batch."""
    n, slots = len(table), len(PHASES)
    first, group = table.groups("model", "gpu", "precision", "cfg")
    # Distinct sizes within each group of rows that share a machine and a model are worked out once.
    size = np.stack([group, table.width, table.height, batch], axis=1)
    unique, inverse = np.unique(size, axis=0, return_inverse=True)
    seconds = np.zeros((len(unique), slots, len(CLASSES)))
    dispatches = np.zeros((len(unique), slots))
    for place, row in enumerate(first):
        at = np.flatnonzero(unique[:, 0] == place)
        for start in range(0, len(at), 4096):
            part = at[start : start + 4096]
            seconds[part], dispatches[part] = _one_machine(
                str(table.model[row]), str(table.gpu[row]), str(table.precision[row]), bool(table.cfg[row]),
                unique[part, 1], unique[part, 2], unique[part, 3],
            )  # fmt: skip
    inverse = inverse.reshape(-1)
    times = np.repeat(calls[:, None], slots, axis=1).astype(np.float64)
    times[:, PHASES.index("denoise")] *= table.steps
    megapixels = np.zeros((n, slots))
    megapixels[:, PHASES.index("decode")] = batch * table.pixels / 2**20
    return times, seconds[inverse], dispatches[inverse], megapixels


def _one_machine(
    model: str, gpu: str, precision: str, cfg: bool, width: Integers, height: Integers, batch: Integers
) -> tuple[Floats, Floats]:
    """Seconds (n, phases, classes) and dispatches (n, phases) of one call at each size."""
    work, device = tables.load(model), machine(gpu, precision)
    seconds = np.zeros((len(width), len(PHASES), len(CLASSES)))
    dispatches = np.zeros((len(width), len(PHASES)))
    for slot, phase in enumerate(PHASES):
        for single in (True, False):
            passes, samples = work.forward(phase, cfg, 1)
            at = np.flatnonzero((samples * batch == 1) == single)
            if len(at):
                groups = work.groups(phase, precision, single)
                per_pass = _seconds(groups, groups.evaluate(width[at], height[at], samples * batch[at]), device)
                seconds[at, slot] = passes * per_pass
                dispatches[at, slot] = passes * groups.count.sum()
    return seconds, dispatches


def _seconds(groups: Groups, q: dict[str, Floats], device: Machine) -> Floats:
    """(n, classes): seconds of one forward pass."""
    n = len(next(iter(q.values())))
    total = np.zeros((n, len(CLASSES)))
    for at, kind, wide, count in _parts(groups):
        flops, b, m, width, k = (q[name][:, at] for name in ("flops", "b", "m", "n", "k"))
        moved = (q["read_bytes"][:, at] + q["write_bytes"][:, at] + q["weight_bytes"][:, at]) / count
        name, arithmetic = _arithmetic(kind, wide, flops / count, b, m, width, k, device)
        other = np.maximum(moved / device.bandwidth, KERNEL_SECONDS)
        bound = arithmetic > other
        total[:, _PLACE[name]] += (np.where(bound, arithmetic, 0.0) * count).sum(axis=1)
        total[:, _PLACE["memory"]] += (np.where(bound, 0.0, other) * count).sum(axis=1)
    return total


@lru_cache(maxsize=512)
def _kinds(kinds: tuple[str, ...], precisions: tuple[str, ...]) -> tuple[tuple[str, bool, Integers], ...]:
    pairs = sorted(set(zip(kinds, precisions, strict=True)))
    return tuple(
        (kind, precision == "fp32", np.array([i for i in range(len(kinds)) if (kinds[i], precisions[i]) == pair]))
        for pair in pairs
        for kind, precision in [pair]
        if kind != "view"
    )


def _parts(groups: Groups) -> Iterator[tuple[Integers, str, bool, Floats]]:
    """Groups of one kind and width together: places, kind, whether in fp32, operations in each."""
    for kind, wide, at in _kinds(groups.kind, groups.precision):
        yield at, kind, wide, groups.count[at]


def _arithmetic(
    kind: str, wide: bool, flops: Floats, b: Floats, m: Floats, n: Floats, k: Floats, device: Machine
) -> tuple[str, Floats]:
    """Class and seconds of the arithmetic of one operation."""
    if kind == "matmul":
        if wide:
            return "fp32", flops / device.fp32 * waste(b, m, n, k, device.multiprocessors, plain=True)
        return "matmul", flops / device.tensor * waste(b, m, n, k, device.multiprocessors)
    if kind == "attention":
        return "attention", flops * _attention_waste(m, n, k) / (device.wide_attention if wide else device.attention)
    if kind == "convolution":
        rate = device.wide_convolution if wide else device.convolution
        # Depthwise and grouped ones have no product worth tiling: plain cores, each input read again for every tap.
        grouped = flops / (device.fp32 / 2)
        return "convolution", np.where(b > 1, grouped, flops / rate * waste(b, m, n, k, device.multiprocessors))
    return "memory", np.zeros_like(flops)


def waste(b: Floats, m: Floats, n: Floats, k: Floats, processors: int, plain: bool = False) -> Floats:
    """How much longer b products m x k x n take than their FLOPs at full rate: partial tiles and partial waves."""
    best = np.full(np.shape(m), np.inf)
    useful = np.maximum(b * m * n, 1.0)
    for rows, columns, share in _PLAIN_TILES if plain else _TENSOR_TILES:
        tiles = b * np.ceil(m / rows) * np.ceil(n / columns)
        for split in _PLAIN_SPLITS if plain else (1,):
            waves = np.ceil(tiles * split / processors)
            cost = waves * processors / split * rows * columns / useful / share * (_SPLIT_COST if split > 1 else 1.0)
            best = np.minimum(best, np.where((split == 1) | (k / split >= _SHORTEST_SPLIT), cost, np.inf))
    return best


def _attention_waste(m: Floats, n: Floats, k: Floats) -> Floats:
    """Partial tiles of queries and keys, heads padded to tiles, exponentials that narrow heads amortise less."""
    m, n, k = np.maximum(m, 1.0), np.maximum(n, 1.0), np.maximum(k, 1.0)
    tiles = np.ceil(m / _QUERY_TILE) * _QUERY_TILE / m * (np.ceil(n / _KEY_TILE) * _KEY_TILE / n)
    heads = np.ceil(k / _HEAD_TILE) * _HEAD_TILE / k
    result: Floats = tiles * (heads + SOFTMAX_WIDTH / k) / (1 + SOFTMAX_WIDTH / _HEAD_WIDTH)
    return result
