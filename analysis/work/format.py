"""The compact table of a model's work: what it holds, and its values, vectorised over configurations. No torch.

A table holds, for each phase, precision and batch regime, groups of operations that behave alike. Every quantity of a
group is a polynomial in a, the number of grid cells of the group's scale s, and B, the samples of one forward pass:

    q(a, B) = u0 + u1 a + B (v0 + v1 a + v2 a^2),        a = ceil(width / s) ceil(height / s)

For transformers a is the number of image tokens; a U-Net has one scale a level, and ceil is what its strided
convolutions do, so both are exact for every size that the model takes. A batch of one and larger batches dispatch
different kernels, hence two regimes. ``python -m analysis.work.make_tables`` makes the tables.

Of a video of f latent frames the denoiser sees a f cells. Decoders go through it in stretches of a few frames: what
they do is a straight line in f through two lengths that were traced; an image of such a model has a decoder of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from farm.catalog import rules
from farm.catalog.rules import Forwards
from farm.domain.errors import RequestError

Floats = NDArray[np.float64]

FORMAT: Final = 1
QUANTITIES: Final = ("flops", "read_bytes", "write_bytes", "weight_bytes", "b", "m", "n", "k")
TERMS: Final = 5  # u0, u1, v0, v1, v2


@dataclass(frozen=True, slots=True)
class Groups:
    """G groups of operations of one forward pass.

    The first four quantities are totals over the ``count`` operations of a group; b, m, n, k are those of one of them:
    a product of b matrices m x k and k x n. Convolution: m output positions of the whole batch, n output channels, k
    taps x input channels, b channel groups. Attention: b = batch x heads, m query tokens, n key tokens, k head width.
    Zero for other kinds. FLOPs are 2 a multiply-add of matmul, attention and convolution, zero for other kinds.
    """

    kind: tuple[str, ...]  # matmul, attention, convolution, elementwise, layout, gather or view
    precision: tuple[str, ...]  # fp16, bf16 or fp32: the type that the operation writes
    count: Floats  # [G] dispatches
    scale: Floats  # [G] pixels a cell is wide
    coefficients: Mapping[str, Floats]  # quantity -> [G, 5]

    def __len__(self) -> int:
        return len(self.kind)

    def evaluate(
        self, width: ArrayLike, height: ArrayLike, batch: ArrayLike = 1, layers: ArrayLike = 1
    ) -> dict[str, Floats]:
        """Every quantity as [N, G]; width, height (pixels), batch (samples of a forward) and layers (of cells: latent
        frames) broadcast to [N]."""
        w, h, samples, deep = (
            np.atleast_1d(np.asarray(x, dtype=np.float64))[:, None]
            for x in np.broadcast_arrays(width, height, batch, layers)
        )
        cells = np.ceil(w / self.scale) * np.ceil(h / self.scale) * deep
        return {
            name: np.array(np.broadcast_to(polynomial(c, cells, samples), (len(w), len(self))))
            for name, c in self.coefficients.items()
        }


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a phase, per prompt: FLOPs, bytes moved (eager, nothing fused or cached), kernels, dispatches."""

    flops: float
    moved_bytes: float
    kernels: float  # dispatches that run a kernel
    dispatches: float  # views included


Phases = Mapping[tuple[str, str, bool], Groups]  # (phase, precision, batch of one) -> groups


@dataclass(frozen=True, slots=True)
class Video:
    """What a model that makes videos does with their frames."""

    compression: int  # frames to one of the latent, but for the first
    patch: int  # latent frames that the denoiser takes together
    decoders: Mapping[int, Phases]  # latent frames -> the decoder that was traced at so many, two of them

    def latent_frames(self, frames: ArrayLike) -> Floats:
        """Of videos of so many frames."""
        return np.asarray((np.asarray(frames, dtype=np.float64) - 1) // self.compression + 1)

    def layers(self, frames: ArrayLike) -> Floats:
        """Latent frames that the denoiser sees: filled up to whole patches."""
        return np.asarray(np.ceil(self.latent_frames(frames) / self.patch) * self.patch)

    def shares(self, frames: ArrayLike) -> dict[int, Floats]:
        """How often each decoder that was traced counts in that of a video, by a straight line; 0 (an image's) in that
        of one frame. They add up to 1."""
        (short, long), latent = sorted(self.decoders), self.latent_frames(frames)
        weight = (latent - short) / (long - short)
        still = latent == 1
        return {0: np.where(still, 1.0, 0.0), short: np.where(still, 0.0, 1 - weight), long: np.where(still, 0, weight)}


@dataclass(frozen=True, slots=True)
class Part:
    """What of a phase of n rows is one table's: which decoder of a video (0: not one of those), how often it counts
    (n,), and how many layers of cells it sees (n,)."""

    decoder: int
    share: Floats
    layers: Floats


@dataclass(frozen=True, slots=True)
class ModelWork:
    """The work of one model."""

    name: str
    guidance: str  # as in farm.catalog.Model
    digest: str  # of the configurations that were traced
    phases: Phases
    negative: bool = True  # guidance encodes a negative prompt; else it is zeros
    video: Video | None = None  # None of a model that makes images

    def groups(self, phase: str, precision: str, single: bool, decoder: int = 0) -> Groups:
        """``single``: the forward has one sample; ``decoder``: of a Part. RequestError for an unknown phase or
        precision."""
        phases = self.video.decoders[decoder] if decoder and self.video else self.phases
        try:
            return phases[phase, precision, single]
        except KeyError:
            raise RequestError("precision", f"{phase} {precision}", "a phase and one of fp16, bf16, fp32") from None

    def forwards(self, phase: str, cfg: bool, batch: int = 1) -> Forwards:
        """The forward passes of a phase for ``batch`` images, as the function of that name says."""
        return forwards(self.name, self.guidance, phase, cfg, batch, negative=self.negative)

    def parts(self, phase: str, frames: NDArray[np.int64]) -> list[Part]:
        """The tables whose sum is a phase of n images or videos, by their frames (n,)."""
        one = np.ones(len(frames))
        if self.video is None or phase == "text":
            return [Part(0, one, one)]
        if phase == "denoise":
            return [Part(0, one, self.video.layers(frames))]
        return [Part(decoder, share, one) for decoder, share in self.video.shares(frames).items() if share.any()]

    def totals(
        self,
        phase: str,
        width: int,
        height: int,
        *,
        cfg: bool = False,
        batch: int = 1,
        precision: str = "fp16",
        frames: int = 1,
    ) -> Totals:
        """Sums of a phase for ``batch`` images or videos: one denoising step with both passes, all text encoders, one
        decode."""
        passes = self.forwards(phase, cfg, batch)
        sums = np.zeros(4)
        for part in self.parts(phase, np.array([frames])):
            groups = self.groups(phase, precision, passes.samples == 1, part.decoder)
            q = groups.evaluate(width, height, passes.samples, part.layers)
            moved = q["read_bytes"] + q["write_bytes"] + q["weight_bytes"]
            views = np.array([kind == "view" for kind in groups.kind])
            of_part = q["flops"].sum(), moved.sum(), groups.count[~views].sum(), groups.count.sum()
            sums += passes.calls * part.share[0] * np.array(of_part)
        flops, moved_bytes, kernels, dispatches = sums.tolist()
        return Totals(flops, moved_bytes, kernels, dispatches)


def forwards(model: str, guidance: str, phase: str, cfg: bool, batch: int, *, negative: bool = True) -> Forwards:
    """The forward passes of a phase for ``batch`` images, one denoising step; ``guidance`` as in farm.catalog.Model.

    With guidance the text encoders run once more, for the ``negative`` prompt where it is encoded; the decoder makes no
    difference.
    RequestError where ``model`` lacks the guidance that ``cfg`` asks for.
    """
    denoiser = rules.forwards(model, guidance, cfg, batch)
    if phase == "denoise":
        return denoiser
    return Forwards(calls=2 if cfg and negative and phase == "text" else 1, samples=batch)


def parse(data: Mapping[str, Any]) -> ModelWork:
    """A table from its JSON document. ValueError for another format."""
    if data.get("format") != FORMAT:
        raise ValueError(f"work table of format {data.get('format')}, not {FORMAT}")
    video = None
    if (of_video := data.get("video")) is not None:
        decoders = {int(length): _phases({"decode": entry}) for length, entry in of_video["decode"].items()}
        video = Video(of_video["compression"], of_video["patch"], decoders)
    return ModelWork(
        data["model"], data["cfg"], data["digest"], _phases(data["phases"]), data.get("negative", True), video
    )


def _phases(data: Mapping[str, Any]) -> Phases:
    phases = {}
    for phase, by_precision in data.items():
        for precision, entry in by_precision.items():
            rows = by_precision[entry] if isinstance(entry, str) else entry
            for regime in ("one", "many"):
                phases[phase, precision, regime == "one"] = _groups(rows[regime], precision)
    return phases


def _groups(rows: list[dict[str, Any]], precision: str) -> Groups:
    coefficients = {
        name: np.array([_padded(row.get(name, ())) for row in rows], dtype=np.float64).reshape(-1, TERMS)
        for name in QUANTITIES
    }
    return Groups(
        kind=tuple(row["kind"] for row in rows),
        precision=tuple("fp32" if row.get("fp32") else precision for row in rows),
        count=np.array([row["count"] for row in rows], dtype=np.float64),
        scale=np.array([row.get("scale", 1) for row in rows], dtype=np.float64),
        coefficients=coefficients,
    )


def _padded(terms: Any) -> list[float]:
    return [*terms, *[0.0] * (TERMS - len(terms))]


def polynomial(coefficients: Floats, cells: Floats, samples: Floats) -> Floats:
    """A quantity as [N, G], or [1, G] where it is the same for every size and batch.

    Args:
        coefficients: [G, 5]. cells: [N, G] or [N, 1]. samples: [N, 1].
    """
    u0, u1, v0, v1, v2 = coefficients.T
    result: Floats = u0[None, :]
    if u1.any():
        result = result + u1 * cells
    if coefficients[:, 2:].any():
        per_sample: Floats = v0[None, :]
        if v2.any():
            per_sample = per_sample + cells * (v1 + v2 * cells)
        elif v1.any():
            per_sample = per_sample + v1 * cells
        result = result + samples * per_sample
    return result
