"""A Jacobian whose rows fall into few groups, kept as what differs within a group: a tenth of the numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.table import Floats, Integers


@dataclass(frozen=True, slots=True)
class Blocks:
    """The matrix J (m, P) whose row i is ``local[i] @ basis[group[i]]``; it is never written out.

    ``local`` (m, k), ``basis`` (G, k, P), ``group`` (m,).
    """

    local: Floats
    basis: Floats
    group: Integers

    def gram(self, rows: Floats) -> Floats:
        """A' A (P, P) of the matrix A that has ``rows`` (m, k) for ``local``."""
        total = np.zeros((self.basis.shape[2], self.basis.shape[2]))
        for g, basis in enumerate(self.basis):
            of_group = rows[self.group == g]
            moved = np.flatnonzero(basis.any(axis=0))  # a group is moved by a part of the vector alone
            total[np.ix_(moved, moved)] += basis[:, moved].T @ (of_group.T @ of_group) @ basis[:, moved]
        return total

    def transposed(self, values: Floats) -> Floats:
        """J' values, (P,), of ``values`` (m,)."""
        sums = np.array([(self.local[self.group == g]).T @ values[self.group == g] for g in range(len(self.basis))])
        result: Floats = np.einsum("gk,gkp->p", sums.reshape(self.basis.shape[:2]), self.basis)
        return result

    def variance(self, covariance: Floats) -> Floats:
        """x' covariance x of every row x of J, (m,)."""
        result = np.empty(len(self.local))
        for g, basis in enumerate(self.basis):
            at = np.flatnonzero(self.group == g)
            of_group = self.local[at]
            result[at] = ((of_group @ (basis @ covariance @ basis.T)) * of_group).sum(axis=1)
        return result
