"""Turns traces at a few sizes and batches into the compact table that analysis.work.format evaluates.

Every operation is followed through the traces (their order does not depend on the size) and each of its quantities is
interpolated exactly, in fractions. Operations with equal dimensions are then merged; those without (elementwise,
layout, gather) are merged when they move the same bytes within a factor of two at both reference sizes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any, Final

import torch

from analysis.work.format import FORMAT, QUANTITIES, TERMS
from analysis.work.trace.operations import Op
from analysis.work.trace.phases import Tracer
from analysis.work.trace.pipeline import Pipeline
from farm.domain import PHASES
from farm.domain.errors import OperationError

Size = tuple[int, int]  # width, height in pixels
History = tuple[Op, ...]  # one operation through all traces
Terms = tuple[Fraction, ...]  # u0, u1, v0, v1, v2 of analysis.work.format

# What the polynomials pass through: multiples of 128, so that all levels of a U-Net divide; not 1024 x 1024, where some
# models use a stored position table that they compute elsewhere.
BASE: Final[tuple[Size, ...]] = ((256, 256), (512, 768), (1024, 896))
PRECISIONS: Final = ("fp16", "bf16", "fp32")
_LEVELS: Final = 5  # scales tried: the pipeline's multiple and its doublings
# Latent frames at which videos are traced: a decoder that goes through them in stretches has an odd one first.
LATENT_FRAMES: Final = (3, 13)
_POWERS: Final = (0, 1, 0, 1, 2)  # of the cells, in the terms of analysis.work.format


def tabulate(pipeline: Pipeline, precisions: Sequence[str] = PRECISIONS) -> dict[str, Any]:
    """The table of a pipeline as a JSON document."""
    still = _tracers(pipeline, precisions)
    phases: dict[str, dict[str, Any]] = {phase: _phase(still, phase) for phase in PHASES if phase != "denoise"}
    video = {}
    if pipeline.convention.video:
        compression, patch = still[precisions[0]].of_time()
        clips = {n: _tracers(pipeline, precisions, (n - 1) * compression + 1) for n in LATENT_FRAMES}
        short = LATENT_FRAMES[0]
        phases["denoise"] = _phase(clips[short], "denoise", math.ceil(short / patch) * patch)
        decode = {str(n): _phase(tracers, "decode") for n, tracers in clips.items()}
        video = {"video": {"compression": compression, "patch": patch, "decode": decode}}
    else:
        phases["denoise"] = _phase(still, "denoise")
    return {
        "format": FORMAT,
        "model": pipeline.name,
        "cfg": pipeline.convention.cfg,
        **({} if pipeline.convention.negative else {"negative": False}),
        "digest": pipeline.digest,
        "torch": torch.__version__,
        "phases": {phase: phases[phase] for phase in PHASES},
        **video,
    }


def _tracers(pipeline: Pipeline, precisions: Sequence[str], frames: int = 1) -> dict[str, Tracer]:
    return {precision: Tracer(pipeline, precision, frames) for precision in precisions}


def _phase(tracers: Mapping[str, Tracer], phase: str, layers: int = 1) -> dict[str, Any]:
    """Rows of a phase by precision; ``layers``: latent frames that its cells are of."""
    rows: dict[str, Any] = {}
    for precision, tracer in tracers.items():
        if precision == "bf16" and "fp16" in tracers and _alike(tracers["fp16"], tracer, phase):
            rows[precision] = "fp16"
        else:
            rows[precision] = {"one": _single(tracer, phase, layers), "many": _several(tracer, phase, layers)}
    return rows


def _alike(one: Tracer, other: Tracer, phase: str) -> bool:
    """Whether both dispatch the same operations, which then holds for every size."""
    return all(one.phase(phase, *BASE[0], batch) == other.phase(phase, *BASE[0], batch) for batch in (1, 2))


@dataclass(frozen=True, slots=True)
class _Fitted:
    """One operation whose quantities are known as polynomials."""

    kind: str
    wide: bool  # fp32 in a model of a narrower type
    scale: int
    terms: dict[str, Terms]


def _single(tracer: Tracer, phase: str, layers: int) -> list[dict[str, Any]]:
    """Rows for one sample a forward: everything in v."""
    sizes, odd = _sizes(tracer.pipeline, phase)

    def fit(ops: History) -> _Fitted:
        scale = _scale(tracer.pipeline, ops, sizes, odd)
        terms = {}
        for name in QUANTITIES:
            v = _interpolate(_areas(sizes, scale), [_value(op, name) for op in ops[: len(sizes)]])
            terms[name] = (Fraction(0), Fraction(0), *v)
        return _Fitted(ops[0].kind, ops[0].precision == "fp32", scale, terms)

    return _merge(_aligned([tracer.phase(phase, *size) for size in (*sizes, *odd)]), fit, 1, layers)


def _several(tracer: Tracer, phase: str, layers: int) -> list[dict[str, Any]]:
    """Rows for two samples or more: traced at two, and at three on the smallest and largest size to tell u from v."""
    sizes, odd = _sizes(tracer.pipeline, phase)
    ends = (sizes[0], sizes[-1]) if len(sizes) > 1 else sizes
    traces = [tracer.phase(phase, *size, 2) for size in (*sizes, *odd)]
    traces += [tracer.phase(phase, *size, 3) for size in ends]

    def fit(ops: History) -> _Fitted:
        two, three = ops[: len(sizes) + len(odd)], ops[len(sizes) + len(odd) :]
        scale = _scale(tracer.pipeline, two, sizes, odd)
        terms = {}
        for name in QUANTITIES:
            at_two = [_value(op, name) for op in two[: len(sizes)]]
            at_ends = [at_two[0], at_two[-1]][: len(ends)]
            constant = [3 * a - 2 * _value(b, name) for a, b in zip(at_ends, three, strict=True)]
            u = _interpolate(_areas(ends, scale), constant)[:2]
            both = _interpolate(_areas(sizes, scale), at_two)
            v = [(c - (u[i] if i < len(u) else 0)) / 2 for i, c in enumerate(both)]
            terms[name] = (*u, *v)
        return _Fitted(ops[0].kind, ops[0].precision == "fp32", scale, terms)

    return _merge(_aligned(traces), fit, 2, layers)


def _sizes(pipeline: Pipeline, phase: str) -> tuple[tuple[Size, ...], tuple[Size, ...]]:
    """Sizes to interpolate, and one that is an odd multiple on both axes, to tell the levels of a U-Net apart."""
    if phase == "text":
        return BASE[:1], ()
    m = pipeline.convention.multiple
    odd = (m * (512 // m | 1), m * (640 // m | 1))
    return BASE, (odd,)


def _aligned(traces: Sequence[Sequence[Op]]) -> Iterable[History]:
    names = {tuple((op.name, op.precision) for op in trace) for trace in traces}
    if len(names) != 1:
        raise OperationError(
            "operations of this pipeline come and go with the size, so that no table holds for all sizes: `farm flops` "
            "counts it, the laws do not predict it"
        )
    return zip(*traces, strict=True)


def _scale(pipeline: Pipeline, ops: Sequence[Op], sizes: Sequence[Size], odd: Sequence[Size]) -> int:
    """The scale whose polynomial is nearest at the odd size; the finest of equals."""
    if not odd:
        return pipeline.convention.multiple

    def error(scale: int) -> Fraction:
        total = Fraction(0)
        for name in QUANTITIES:
            c = _interpolate(_areas(sizes, scale), [_value(op, name) for op in ops[: len(sizes)]])
            (area,), traced = _areas(odd, scale), _value(ops[len(sizes)], name)
            total += abs(c[0] + area * (c[1] + area * c[2]) - traced) / (traced or 1)
        return total

    scales = [pipeline.convention.multiple << level for level in range(_LEVELS)]
    told_apart = [scale for scale in scales if len({*_areas(sizes, scale)}) == len(sizes)]  # coarser ones see one size
    return min(told_apart, key=error)


def _areas(sizes: Sequence[Size], scale: int) -> tuple[int, ...]:
    return tuple(math.ceil(w / scale) * math.ceil(h / scale) for w, h in sizes)


def _interpolate(x: tuple[int, ...], y: Sequence[int]) -> list[Fraction]:
    """Coefficients c0, c1, c2 of the polynomial through one, two or three points."""
    numerators, denominator = _lagrange(x)
    return [Fraction(sum(v * c for v, c in zip(y, of, strict=True)), denominator) for of in numerators]


@cache
def _lagrange(x: tuple[int, ...]) -> tuple[tuple[tuple[int, ...], ...], int]:
    """Coefficients 0, 1, 2 of the polynomials that are 1 at one point each and 0 at the others: numerators, and the
    denominator of all."""
    rows = []
    for i, xi in enumerate(x):
        basis = [Fraction(1)]
        for xj in (*x[:i], *x[i + 1 :]):
            shifted, same = [Fraction(0), *basis], [*basis, Fraction(0)]
            basis = [(a - b * xj) / (xi - xj) for a, b in zip(shifted, same, strict=True)]
        rows.append((*basis, *[Fraction(0)] * (3 - len(basis))))
    denominator = math.lcm(*(c.denominator for row in rows for c in row))
    return tuple(tuple(int(c * denominator) for c in of) for of in zip(*rows, strict=True)), denominator


def _value(op: Op, name: str) -> int:
    return int(getattr(op.dims if name in op.dims._fields else op, name))


def _merge(
    histories: Iterable[History], fit: Callable[[History], _Fitted], samples: int, layers: int
) -> list[dict[str, Any]]:
    groups: dict[Any, list[tuple[_Fitted, int]]] = {}
    for history, count in Counter(histories).items():
        op = fit(history)
        groups.setdefault(_key(op, samples), []).append((op, count))
    return [_row(members, layers) for members in groups.values()]


def _key(op: _Fitted, samples: int) -> Any:
    if op.kind == "view":
        return op.kind
    if any(op.terms["m"]):
        return (op.kind, op.wide, op.scale, *(op.terms[name] for name in ("b", "m", "n", "k")))
    octaves = []
    for size in (BASE[0], BASE[-1]):
        (area,) = _areas([size], op.scale)
        moved = 0.0
        for name in ("read_bytes", "write_bytes", "weight_bytes"):
            u0, u1, v0, v1, v2 = map(float, op.terms[name])
            moved += u0 + u1 * area + samples * (v0 + v1 * area + v2 * area**2)
        octaves.append(round(math.log2(max(moved, 2.0**16))))  # below 64 kB only the launch counts
    return (op.kind, op.wide, op.scale, *octaves)


def _row(members: Sequence[tuple[_Fitted, int]], layers: int) -> dict[str, Any]:
    """A group of operations, of which traced cells are of several layers; in the table they are of one."""
    first = members[0][0]
    row: dict[str, Any] = {"kind": first.kind, "count": sum(n for _, n in members), "scale": first.scale}
    if first.wide:
        row["fp32"] = True
    for name in QUANTITIES:
        if name in ("b", "m", "n", "k"):
            terms = first.terms[name] if any(first.terms["m"]) else ()
        else:
            terms = tuple(sum((n * op.terms[name][i] for op, n in members), Fraction(0)) for i in range(TERMS))
        if any(terms):
            row[name] = [_number(t / layers**power) for t, power in zip(terms, _POWERS, strict=True)]
    return row


def _number(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else float(value)
