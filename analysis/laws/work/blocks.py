"""Matrices whose rows fall into few sets, kept as what differs within a set: a tenth of the numbers, and fewer.

The rows of a set depend on a vector of P effects through k numbers, each the sum of some effects. A Jacobian is kept by
these numbers (:class:`Blocks`), and an information matrix as that of each set's numbers (:class:`Information`). Effects
that move one set alone, which most do, are eliminated within their set (a Schur complement), so that only the others
make a matrix that is inverted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from analysis.table import Floats, Integers


@dataclass(frozen=True)
class Basis:
    """Which effects make the numbers of G sets. Of each entry (Z,): its set, its number among k, its effect among P."""

    shape: tuple[int, int, int]  # (G, k, P)
    group: Integers
    number: Integers
    place: Integers

    @classmethod
    def of(cls, dense: Floats) -> Self:
        """From zeros and ones (G, k, P)."""
        group, number, place = np.nonzero(dense)
        return cls((dense.shape[0], dense.shape[1], dense.shape[2]), group, number, place)

    def take(self, entries: NDArray[np.bool_]) -> Basis:
        return Basis(self.shape, self.group[entries], self.number[entries], self.place[entries])

    def dense(self) -> Floats:
        """Written out, (G, k, P)."""
        result = np.zeros(self.shape)
        result[self.group, self.number, self.place] = 1.0
        return result

    def numbers(self, effects: Floats) -> Floats:
        """The numbers of every set, (G, k), by the effects (P,)."""
        sets, k, _ = self.shape
        return _sums(self._row, effects[self.place], sets * k).reshape(sets, k)

    def transposed(self, numbers: Floats) -> Floats:
        """B' numbers, (P,), of ``numbers`` (G, k)."""
        return _sums(self.place, numbers.ravel()[self._row], self.shape[2])

    def covariance(self, of_effects: Floats) -> Floats:
        """Of the numbers of each set, (G, k, k), by that of the effects (P, P)."""
        sets, k, _ = self.shape
        of_numbers, effects = self._pairs
        return _sums(of_numbers, of_effects.ravel()[effects], sets * k * k).reshape(sets, k, k)

    def information(self, of_numbers: Floats) -> Floats:
        """Of the effects, (P, P), by that of the numbers of each set (G, k, k)."""
        size = self.shape[2]
        numbers, effects = self._pairs
        return _sums(effects, of_numbers.ravel()[numbers], size * size).reshape(size, size)

    @cached_property
    def _row(self) -> Integers:
        """Of each entry the place of its number among those of all sets."""
        return np.asarray(self.group * self.shape[1] + self.number)

    @cached_property
    def _pairs(self) -> tuple[Integers, Integers]:
        """Of each two entries of one set: their places in (G, k, k) and in (P, P), both flat."""
        _, k, size = self.shape
        order = np.argsort(self.group, kind="stable")
        count = np.bincount(self.group, minlength=self.shape[0])[self.group[order]]  # partners of each entry
        first = np.repeat(order, count)
        start = np.searchsorted(self.group[order], self.group[order])
        within = np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
        second = order[np.repeat(start, count) + within]
        return self._row[first] * k + self.number[second], self.place[first] * size + self.place[second]


def _sums(places: Integers, values: Floats, size: int) -> Floats:
    return np.bincount(places, values, size).astype(np.float64, copy=False)  # whole numbers where there are none


@dataclass(frozen=True)
class Groups:
    """Which rows are of which set, and which effects move each: the same for every Jacobian of a fit."""

    basis: Basis
    order: Integers  # (m,) rows, those of a set beside each other
    sizes: Integers  # (G,) rows of each set

    @classmethod
    def of(cls, basis: Basis, group: Integers) -> Self:
        """``group`` (m,): the set of each row."""
        return cls(basis, np.argsort(group, kind="stable"), np.bincount(group, minlength=basis.shape[0]))

    @cached_property
    def slices(self) -> list[tuple[int, slice]]:
        """The sets that have rows, and where these are in the order."""
        ends = np.cumsum(self.sizes).tolist()
        return [(place, slice(a, b)) for place, (a, b) in enumerate(zip([0, *ends], ends, strict=False)) if b > a]

    @cached_property
    def common(self) -> tuple[Integers, Basis]:
        """The effects that move several sets, (Q,), and what they make of the numbers, by their places among Q."""
        several = np.bincount(self.basis.place, minlength=self.basis.shape[2]) != 1
        places = np.flatnonzero(several)
        part = self.basis.take(several[self.basis.place])
        rank = np.cumsum(several) - 1
        return places, Basis((*self.basis.shape[:2], len(places)), part.group, part.number, rank[part.place])

    @cached_property
    def alone(self) -> tuple[Integers, NDArray[np.bool_], Floats]:
        """The effects that move one set alone, (G, r), filled up to the most that a set has; which of them there are;
        and the number that each moves, as zeros and ones (G, k, r)."""
        sets, k, size = self.basis.shape
        part = self.basis.take(np.bincount(self.basis.place, minlength=size)[self.basis.place] == 1)
        order = np.argsort(part.group, kind="stable")
        group = part.group[order]
        slot = np.arange(len(group)) - np.searchsorted(group, group)
        most = int(slot.max(initial=-1)) + 1
        places, there, moves = (
            np.zeros((sets, most), dtype=np.int64),
            np.zeros((sets, most), np.bool_),
            np.zeros((sets, k, most)),
        )
        places[group, slot], there[group, slot] = part.place[order], True
        moves[group, part.number[order], slot] = 1.0
        return places, there, moves


@dataclass(frozen=True, slots=True)
class Blocks:
    """The matrix J (m, P) whose row i is ``local[i] @ basis[group[i]]``; it is never written out. ``local`` (m, k)."""

    local: Floats
    groups: Groups

    def gram(self, rows: Floats) -> Floats:
        """A' A of the matrix A that has ``rows`` (m, k) for ``local``, by the numbers of each set, (G, k, k)."""
        total = np.zeros((len(self.groups.sizes), rows.shape[1], rows.shape[1]))
        for place, of_set in self._by_set(rows):
            np.matmul(of_set.T, of_set, out=total[place])
        return total

    def transposed(self, values: Floats) -> Floats:
        """J' values, (P,), of ``values`` (m,)."""
        total = np.zeros((len(self.groups.sizes), self.local.shape[1]))
        by_row = (self.local * values[:, None])[self.groups.order]
        if len(by_row):
            some = self.groups.sizes > 0
            first = (np.cumsum(self.groups.sizes) - self.groups.sizes)[some]
            total[some] = np.add.reduceat(by_row, first, axis=0)
        return self.groups.basis.transposed(total)

    def variance(self, covariance: Floats) -> Floats:
        """x' C x of every row x of J, (m,), by the covariance of the numbers of each set (G, k, k)."""
        sorted_result = np.empty(len(self.local))
        start = 0
        for place, of_set in self._by_set(self.local):
            sorted_result[start : start + len(of_set)] = ((of_set @ covariance[place]) * of_set).sum(axis=1)
            start += len(of_set)
        result = np.empty_like(sorted_result)
        result[self.groups.order] = sorted_result
        return result

    def _by_set(self, rows: Floats) -> Iterator[tuple[int, Floats]]:
        ordered = rows[self.groups.order]
        for place, part in self.groups.slices:
            yield place, ordered[part]


class Information:
    """The matrix A' A + diag(precision) (P, P), whose inverse is asked for: the effects that move one set alone are
    eliminated from it.

    With the effects o that move a set alone, its common ones c through the numbers B c, and H what its rows say of the
    numbers: o is -F B c beside what precision and rows leave open, D^-1, where D = O' H O + diag(precision of o) and
    F = D^-1 O' H; H - (O' H)' F is what remains for the common ones.
    """

    def __init__(self, groups: Groups, of_numbers: Floats, precision: Floats) -> None:
        """``of_numbers`` (G, k, k) as of :meth:`Blocks.gram`, ``precision`` (P,)."""
        self._groups = groups
        self._places, self._there, self._moves = groups.alone
        self._common, self._basis = groups.common
        cross = np.matmul(self._moves.transpose(0, 2, 1), of_numbers)  # (G, r, k)
        of_alone = np.matmul(cross, self._moves)
        slots = np.arange(of_alone.shape[1])
        of_alone[:, slots, slots] += np.where(self._there, precision[self._places], 1.0)
        self._open = np.linalg.inv(of_alone)
        self._follow = np.matmul(self._open, cross)
        remaining = of_numbers - np.matmul(cross.transpose(0, 2, 1), self._follow)
        self._remaining = self._basis.information(remaining)
        diagonal = np.arange(len(self._common))
        self._remaining[diagonal, diagonal] += precision[self._common]

    def solve(self, values: Floats) -> Floats:
        """The inverse times ``values`` (P,)."""
        result = np.empty_like(values)
        of_alone = np.where(self._there, values[self._places], 0.0)[:, :, None]
        through = np.matmul(self._follow.transpose(0, 2, 1), of_alone)[:, :, 0]
        of_common = values[self._common] - self._basis.transposed(through)
        common = np.asarray(np.linalg.solve(self._remaining, of_common), dtype=np.float64)
        result[self._common] = common
        numbers = self._basis.numbers(common)[:, :, None]
        moved = (np.matmul(self._open, of_alone) - np.matmul(self._follow, numbers))[:, :, 0]
        result[self._places[self._there]] = moved[self._there]
        return result

    @cached_property
    def _of_common(self) -> Floats:
        return np.asarray(np.linalg.inv(self._remaining))

    @cached_property
    def _of_common_numbers(self) -> Floats:
        return self._basis.covariance(self._of_common)

    def of_sets(self) -> Floats:
        """The inverse as the covariance of the numbers of each set, (G, k, k)."""
        kept = np.eye(self._moves.shape[1]) - np.matmul(self._moves, self._follow)
        through = np.matmul(np.matmul(kept, self._of_common_numbers), kept.transpose(0, 2, 1))
        of_alone = np.matmul(np.matmul(self._moves, self._open), self._moves.transpose(0, 2, 1))
        return np.asarray(through + of_alone)

    def variances(self) -> Floats:
        """The diagonal of the inverse, (P,)."""
        result = np.empty(self._groups.basis.shape[2])
        result[self._common] = np.diag(self._of_common)
        through = (np.matmul(self._follow, self._of_common_numbers) * self._follow).sum(axis=2)
        of_alone = through + np.diagonal(self._open, axis1=1, axis2=2)
        result[self._places[self._there]] = of_alone[self._there]
        return result

    def inverse(self) -> Floats:
        """The whole of it, (P, P), symmetric to the last digit."""
        size, places = self._groups.basis.shape[2], self._places[self._there]
        follow = self._written_out()
        with_common = -follow @ self._of_common
        result = np.empty((size, size))
        result[np.ix_(self._common, self._common)] = self._of_common
        result[np.ix_(places, self._common)] = with_common
        result[np.ix_(self._common, places)] = with_common.T
        rank = np.full(self._there.shape, -1, dtype=np.int64)
        rank[self._there] = np.arange(len(places))
        of_alone = -with_common @ follow.T
        both = self._there[:, :, None] & self._there[:, None, :]
        row, column = np.broadcast_arrays(rank[:, :, None], rank[:, None, :])
        of_alone[row[both], column[both]] += self._open[both]
        result[np.ix_(places, places)] = of_alone
        return np.asarray((result + result.T) / 2)

    def _written_out(self) -> Floats:
        """How the effects that move one set alone follow the common ones, (as many, Q)."""
        sets, slots, _ = self._follow.shape
        result, basis = np.zeros((sets, len(self._common), slots)), self._basis
        np.add.at(result, (basis.group, basis.place), self._follow[basis.group, :, basis.number])
        return np.asarray(result.transpose(0, 2, 1)[self._there])
