"""How an interval between two readings is divided among the labels that worked in it, and how well that is known.

The power of a label is not constant. A board overshoots its limit as it becomes busy and wanders while it is held to
it; a short phase begins slowly. So the time of a label is cut into segments, by the distance from the nearer edge of
its span, and each segment has a power of its own, the same in all spans of the label:

    power of a segment = mean of the label + deviation of the segment
    joules of an interval = sum over segments of power * seconds + error

with the priors

    mean of a label ~ Normal(m, (m / 2)^2), m what labelled work draws on average, roughly; of other work half of that,
                      with as much doubt
    deviations      ~ Normal(0, A^2 exp(-distance / tick))
    error           ~ Normal(0, W^2 * seconds^2 of work + what noise of idle and the times of the readings make)

A tells how much power changes inside a span in the same way every time, W how it wanders from one interval to the next.
Neither is known beforehand: the answer is the mean over a grid of both, each pair weighed by how likely it makes what
was seen. What the readings determine is hardly touched by the priors; what they do not, falls back to a share by time,
with the uncertainty to match.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from workers.meters.base import OTHER, Span
from workers.meters.energy.idle import Floats, autocorrelation

PRIOR_PART: Final = 0.5  # of the mean power of labelled work: standard deviation of a label's, before anything was seen
OTHER_PART: Final = 0.25  # of the same: mean power of work that is not asked about, from none to as much
# Distances from the edge of a span at which segments meet, in ticks; beyond, each is twice as far as the one before.
SEGMENT_TICKS: Final = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
SEGMENT_SECONDS: Final = 0.3  # from each edge, at least; what lies further inside is one segment
DEVIATION_PARTS: Final = (0.02, 0.05, 0.1, 0.2, 0.4)  # A, of the mean power of labelled work
WANDER_PARTS: Final = (0.003, 0.01, 0.02, 0.04, 0.08, 0.16)  # W, likewise
LEAST_ERROR: Final = 1e-6  # of an interval's joules, as part of what mean power makes in a tick
MOST_ERROR: Final = 1e6
NEGLIGIBLE: Final = 1e-3  # pairs of A and W that are less likely than this are left out
WANDER_SECONDS: Final = 0.2  # at most so long a power that wanders stays on one side
MOST_INTERVALS: Final = 4000  # are enough to find the powers
SMALLEST_PART: Final = 1e-4  # of the mean power: no work has less, since powers are for sharing


@dataclass(frozen=True, slots=True)
class Segments:
    """The time of all work, cut by label and by the distance from the edges of its spans."""

    label: np.ndarray  # index of each segment's label
    place: Floats  # seconds from the beginning of a span of usual length
    lines: tuple[tuple[Floats, Floats], ...]  # seconds of the segment up to a time, as the corners of a broken line

    def seconds(self, start: Floats, end: Floats) -> Floats:
        """Of each segment (columns) between two times (rows)."""
        columns = [np.interp(end, x, y) - np.interp(start, x, y) for x, y in self.lines]
        return np.stack(columns, axis=1)


@dataclass(frozen=True, slots=True)
class Powers:
    """What is known of the powers of the segments, above idle."""

    watts: Floats  # positive
    covariance: Floats
    wander: float  # W: standard deviation from one interval to the next, watts
    evidence: float  # logarithm of how likely the model makes what was seen
    alike: float  # so many intervals tell as much as one, since what is left in neighbours is alike


def labels_of(spans: Sequence[Span]) -> tuple[str, ...]:
    """All labels, in the order that they are numbered; first other, to which all time without a span belongs."""
    return tuple(dict.fromkeys([OTHER, *(s.label for s in spans)]))


def segments_of(spans: Sequence[Span], first: float, last: float, tick: float) -> Segments:
    """Segments of each label's spans, and of the gaps between the first and the last work."""
    label: list[int] = []
    place: list[float] = []
    lines: list[tuple[Floats, Floats]] = []
    for index, name in enumerate(labels_of(spans)):
        stretches = [(s.start, s.end) for s in spans if s.label == name and s.works and s.end > s.start]
        if name == OTHER:
            stretches += _gaps(spans, first, last)
        if stretches:
            starts, ends = np.array(sorted(stretches)).T
            for at, low, high in _cuts(starts, ends, tick):
                label.append(index)
                place.append(at)
                lines.append(_line(low, high))
    return Segments(np.array(label), np.array(place), tuple(lines))


def _gaps(spans: Sequence[Span], first: float, last: float) -> list[tuple[float, float]]:
    """Stretches without any span between two times."""
    edges = sorted((s.start, s.end) for s in spans if s.end > s.start and s.end > first and s.start < last)
    starts, ends = [first, *(end for _, end in edges)], [*(start for start, _ in edges), last]
    return [(a, b) for a, b in zip(starts, ends, strict=True) if b > a]


def _cuts(starts: Floats, ends: Floats, tick: float) -> list[tuple[float, Floats, Floats]]:
    """Segments of one label: their place, and where they begin and end in each span that reaches so far."""
    middle, usual = (starts + ends) / 2, float(np.median(ends - starts))
    edges = _edges(tick)
    segments = [(usual / 2, starts + edges[-1], ends - edges[-1])]
    for low, high in pairwise(edges):
        at = (low + high) / 2
        segments.append((at, starts + low, np.minimum(starts + high, middle)))
        segments.append((usual - at, np.maximum(ends - high, middle), ends - low))
    return [(at, low[high > low], high[high > low]) for at, low, high in segments if np.any(high > low)]


def _edges(tick: float) -> list[float]:
    """Distances from the edge of a span at which segments meet."""
    edges = [ticks * tick for ticks in SEGMENT_TICKS]
    while edges[-1] < SEGMENT_SECONDS:
        edges.append(2 * edges[-1])
    return edges


def _line(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    seconds = np.zeros(2 * len(low))
    seconds[1::2] = high - low
    return np.stack([low, high], axis=1).ravel(), np.cumsum(seconds)


def powers_of(segments: Segments, seconds: Floats, joules: Floats, variance: Floats, tick: float) -> Powers:
    """Powers of the segments from the joules above idle of intervals. ``seconds``: of each segment in each interval;
    ``variance``: of each interval's joules, apart from the wandering of power.
    """
    fits = _fits(segments, seconds, joules, variance, tick)
    part, (wander, deviation) = fits.likely()
    shifts, covariances = fits.posterior(wander, deviation)
    shift = part @ shifts
    covariance = np.tensordot(part, covariances, axes=1) + (part[:, None] * (shifts - shift)).T @ (shifts - shift)
    rho = max(0.0, autocorrelation((fits.residual - seconds @ shift)[seconds.sum(axis=1) > 0]))
    watts = _positive(fits.prior + shift, np.sqrt(np.diag(covariance)))
    return Powers(
        watts=np.maximum(watts, SMALLEST_PART * fits.mean),
        covariance=covariance,
        wander=math.sqrt(float(part @ np.square(fits.wander[wander]))),
        evidence=fits.total_evidence,
        alike=max(1.0, min((1 + rho) / (1 - rho), WANDER_SECONDS / tick)),
    )


def rough_evidence(segments: Segments, seconds: Floats, joules: Floats, variance: Floats, tick: float) -> float:
    """Logarithm of how likely the model makes what was seen, as ``powers_of`` has it, with a coarser grid."""
    return _fits(segments, seconds, joules, variance, tick, every=2).total_evidence


def _prior_roots(segments: Segments, mean: float, tick: float, parts: Sequence[float]) -> Floats:
    """Of the covariance of the segments' powers, for each A: shape (A, segments, segments)."""
    same = segments.label[:, None] == segments.label[None, :]
    near = same * np.exp(-np.abs(segments.place[:, None] - segments.place[None, :]) / tick)
    variances = np.square(parts)[:, None, None]
    roots: Floats = mean * np.linalg.cholesky(PRIOR_PART**2 * same + variances * near + 1e-9 * np.eye(len(same)))
    return roots


@dataclass(frozen=True, slots=True)
class _Fits:
    """For each W (first axis) and each A (second): powers beyond the prior's are root @ z, with the precision of z
    triangle @ triangle.T and its mean where triangle @ triangle.T @ z = root.T @ line. All at once, since a grid of
    small matrices costs little more than one.
    """

    mean: float  # watts of labelled work
    prior: Floats  # mean watts of each segment
    residual: Floats  # joules of each interval that those leave
    wander: Floats  # W, watts
    evidence: Floats  # (W, A)
    roots: Floats  # of the prior's covariance: (A, segments, segments)
    triangle: Floats  # (W, A, segments, segments)
    half: Floats  # triangle.T @ z: (W, A, segments)

    @property
    def total_evidence(self) -> float:
        """Of the whole grid, whose pairs are equally likely beforehand."""
        most = float(self.evidence.max())
        return most + math.log(float(np.exp(self.evidence - most).mean()))

    def likely(self) -> tuple[Floats, tuple[np.ndarray, ...]]:
        """The weights of pairs that matter, and their indices."""
        weight = np.exp(self.evidence - self.evidence.max())
        likely = np.nonzero(weight > NEGLIGIBLE * weight.sum())
        return weight[likely] / weight[likely].sum(), likely

    def posterior(self, wander: np.ndarray, deviation: np.ndarray) -> tuple[Floats, Floats]:
        """Of n pairs by their indices: powers beyond the prior's and their covariance.

        Of shapes (n, segments) and (n, segments, segments).
        """
        spread = np.linalg.solve(self.triangle[wander, deviation], self.roots[deviation].swapaxes(1, 2))
        across = spread.swapaxes(1, 2)
        return (across @ self.half[wander, deviation][..., None])[..., 0], across @ spread


def _fits(segments: Segments, seconds: Floats, joules: Floats, variance: Floats, tick: float, every: int = 1) -> _Fits:
    """For every pair of the grid, or every so many of both."""
    work = seconds.sum(axis=1)
    mean = _usual_watts(segments, seconds, joules, tick)
    prior = np.where(segments.label == 0, OTHER_PART, 1.0) * mean
    residual = joules - seconds @ prior
    # Readings of no known time say nothing, and a noiseless log does not say everything: both without dividing by it.
    least, most = ((scale * mean * tick) ** 2 for scale in (LEAST_ERROR, MOST_ERROR))
    variance = np.clip(np.nan_to_num(variance, nan=most, posinf=most), least, most)
    wander = np.array(WANDER_PARTS[::every]) * mean
    variances = [variance + (watts * work) ** 2 for watts in wander]
    roots = _prior_roots(segments, mean, tick, DEVIATION_PARTS[::every])
    turned = roots.swapaxes(1, 2)
    square = np.stack([seconds.T @ (seconds / v[:, None]) for v in variances])[:, None]
    line = np.stack([(residual / v) @ seconds for v in variances])[:, None, :, None]
    triangle = np.linalg.cholesky(np.eye(len(prior)) + turned @ square @ roots).astype(np.float64)
    half = np.linalg.solve(triangle, turned @ line)[..., 0].astype(np.float64)
    constant = np.array([-0.5 * float(np.log(v).sum() + residual @ (residual / v)) for v in variances])
    determinant = np.log(np.diagonal(triangle, axis1=2, axis2=3)).sum(axis=2)
    evidence = constant[:, None] + 0.5 * np.square(half).sum(axis=2) - determinant
    return _Fits(mean, prior, residual, wander, evidence, roots, triangle, half)


def _usual_watts(segments: Segments, seconds: Floats, joules: Floats, tick: float) -> float:
    """What labelled work draws above idle, roughly: the joules of the intervals that hold any over its seconds, since
    other time is mostly rest; but no more than the highest power of an interval, as other work may draw as much.
    """
    work, labelled = seconds.sum(axis=1), seconds[:, segments.label > 0].sum(axis=1)
    joules = np.abs(joules)
    highest = float((joules / np.maximum(work, tick / 2)).max(initial=0.0, where=work > 0))
    return min(float(joules[labelled > 0].sum()) / max(float(labelled.sum()), 1e-12), highest) or 1e-9


def _positive(mean: Floats, std: Floats) -> Floats:
    """Means of normal distributions of which only the positive part is possible."""
    means = []
    for m, s in zip(mean.tolist(), std.tolist(), strict=True):
        z = max(m / s if s > 0 else math.inf, -5.0)
        below = math.exp(-z * z / 2) / math.sqrt(2 * math.pi) if z < 30 else 0.0
        means.append(max(m, -5.0 * s) + s * below / (0.5 * math.erfc(-z / math.sqrt(2))))
    return np.array(means)


@dataclass(frozen=True, slots=True)
class Split:
    """How pieces of intervals share them."""

    share: Floats  # of the energy of its interval, by piece
    label_std: Floats  # standard uncertainty of each label's joules by the sharing


def split(powers: Powers, seconds: Floats, interval: np.ndarray, label: np.ndarray, labels: int) -> Split:
    """Shares of pieces by their expected energies. ``seconds``: of each segment in each piece.

    With the share g that a label has of an interval, its error is what it was given too little of its own power, less
    g of all that was misjudged in the interval: (a - g A) @ error of powers, a and A the seconds by segment of label
    and interval. That is alike in all intervals. And in each one power wanders: (1 - g)^2 W^2 t^2 + g^2 W^2 (T - t)^2.
    """
    n = int(interval.max(initial=-1)) + 1
    expected = seconds @ powers.watts
    share = expected / np.bincount(interval, expected, n)[interval]
    work = seconds.sum(axis=1)
    all_work = np.bincount(interval, work, n)
    variance = np.zeros(labels)
    for index in np.unique(label):
        labelled = label == index
        given = np.bincount(interval[labelled], share[labelled], n)
        lacking = seconds[labelled].sum(axis=0) - given[interval] @ seconds
        label_work = np.bincount(interval[labelled], work[labelled], n)
        loose = ((1 - given) * label_work) ** 2 + (given * (all_work - label_work)) ** 2
        variance[index] = lacking @ powers.covariance @ lacking + powers.wander**2 * loose.sum()
    return Split(share, np.sqrt(np.maximum(variance, 0.0)))
