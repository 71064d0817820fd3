"""A Jacobian whose rows fall into few groups, kept as what differs within a group: a tenth of the numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from analysis.table import Floats, Integers


@dataclass(frozen=True, slots=True)
class _Group:
    rows: slice  # in the order
    moved: Integers  # (p,) places of the vector
    basis: Floats  # (k, p)


@dataclass(frozen=True, slots=True)
class Groups:
    """Which rows are of which group, and which part of the vector moves each: the same for every Jacobian of a fit."""

    basis: Floats  # (G, k, P)
    order: Integers  # (m,) rows, those of a group beside each other
    groups: tuple[_Group, ...]  # those that have rows

    @classmethod
    def of(cls, basis: Floats, group: Integers) -> Self:
        """``basis`` (G, k, P), ``group`` (m,)."""
        order = np.argsort(group, kind="stable")
        ends = np.cumsum(np.bincount(group, minlength=len(basis))).tolist()
        groups = []
        for place, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            if end > start:
                moved = np.flatnonzero(basis[place].any(axis=0))
                groups.append(_Group(slice(start, end), moved, np.ascontiguousarray(basis[place][:, moved])))
        return cls(basis, order, tuple(groups))


@dataclass(frozen=True, slots=True)
class Blocks:
    """The matrix J (m, P) whose row i is ``local[i] @ basis[group[i]]``; it is never written out. ``local`` (m, k)."""

    local: Floats
    groups: Groups

    def gram(self, rows: Floats) -> Floats:
        """A' A (P, P) of the matrix A that has ``rows`` (m, k) for ``local``."""
        size = self.groups.basis.shape[2]
        total = np.zeros((size, size))
        for group, of_group in self._by_group(rows):
            square = group.basis.T @ (of_group.T @ of_group) @ group.basis
            total[np.ix_(group.moved, group.moved)] += square
        return total

    def transposed(self, values: Floats) -> Floats:
        """J' values, (P,), of ``values`` (m,)."""
        total = np.zeros(self.groups.basis.shape[2])
        for group, of_group in self._by_group(self.local * values[:, None]):
            total[group.moved] += of_group.sum(axis=0) @ group.basis
        return total

    def variance(self, covariance: Floats) -> Floats:
        """x' covariance x of every row x of J, (m,)."""
        sorted_result = np.empty(len(self.local))
        for group, of_group in self._by_group(self.local):
            square = group.basis @ covariance[np.ix_(group.moved, group.moved)] @ group.basis.T
            sorted_result[group.rows] = ((of_group @ square) * of_group).sum(axis=1)
        result = np.empty_like(sorted_result)
        result[self.groups.order] = sorted_result
        return result

    def _by_group(self, rows: Floats) -> Iterator[tuple[_Group, Floats]]:
        ordered = rows[self.groups.order]
        for group in self.groups.groups:
            yield group, ordered[group.rows]
