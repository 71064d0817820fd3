"""Ordinary least squares that takes rows as they come.

Kept is the triangular factor R of [X y] = QR, for each group of rows (here: each model). R holds all that least squares
can know of the rows: k new rows are stacked under it and factored again, at a cost of O(k) and without ever forming
X'X, whose condition is the square. Golub and Van Loan, Matrix Computations, 4th ed., sections 5.3 and 6.5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self, cast

import numpy as np

from analysis.table import DataError, Floats

INTERCEPT: Final = "intercept"  # the first column of every design
RESPONSE: Final = "response"
CONSTANT: Final = 1e-10  # part of a column's norm that must be left when its mean is taken away
COLLINEAR: Final = 1e-7  # smallest to largest singular value of the centred, scaled columns


@dataclass(frozen=True, slots=True)
class Design:
    """Columns by name, (n,) each; the first is the intercept."""

    columns: Mapping[str, Floats]

    def matrix(self, names: Sequence[str]) -> Floats:
        """(n, len(names)); a column that is not there is 0 in every row."""
        n = len(self.columns[INTERCEPT])
        return np.column_stack([self.columns.get(name, np.zeros(n)) for name in names])


@dataclass(frozen=True, slots=True)
class Factor:
    """R of the rows of one group."""

    rows: int = 0
    columns: Mapping[str, Floats] = field(default_factory=dict)  # of R, by name; the response among them

    def absorb(self, design: Design, response: Floats, weight: Floats | None) -> Factor:
        """The factor of these rows and the new ones: O(k) for k new rows, whatever came before."""
        new = Design({**design.columns, RESPONSE: response})
        names = list(dict.fromkeys([INTERCEPT, *self.columns, *new.columns]))
        block = new.matrix(names)
        if weight is not None:
            block = block * np.sqrt(weight)[:, None]
        return Factor(self.rows + len(response), _columns(names, [self.matrix(names), block]))

    def matrix(self, names: Sequence[str]) -> Floats:
        if not self.columns:
            return np.zeros((0, len(names)))
        return Design(self.columns).matrix(names)

    def mean_residual(self, coefficients: Mapping[str, float]) -> float:
        """Weighted mean of response minus fit over the rows of this group."""
        sums = {name: float(self.columns[INTERCEPT] @ column) for name, column in self.columns.items()}
        fitted = sum(value * sums.get(name, 0.0) for name, value in coefficients.items())
        return (sums[RESPONSE] - fitted) / sums[INTERCEPT]

    def to_json(self) -> dict[str, Any]:
        return {"rows": self.rows, "columns": {name: column.tolist() for name, column in self.columns.items()}}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(document["rows"], {name: np.asarray(column) for name, column in document["columns"].items()})


@dataclass(frozen=True, slots=True)
class Solution:
    """Coefficients by column, their uncertainty, and what could not be estimated."""

    coefficients: dict[str, float]
    std: dict[str, float]
    residual_std: float
    degrees_of_freedom: int
    constant: tuple[str, ...]  # columns that were dropped
    factor: Floats  # (p, p) upper triangular: (X'X)^-1 = factor^-1 factor^-T

    def leverage(self, design: Design) -> Floats:
        """x' (X'X)^-1 x of each row, (n,)."""
        x = design.matrix(list(self.coefficients))
        return np.asarray(np.sum(np.linalg.solve(self.factor.T, x.T) ** 2, axis=0))


def solve(factors: Iterable[Factor], *, without: str = "") -> Solution:
    """Least squares over all groups.

    Args:
        factors: of the groups.
        without: a column to leave out: the baseline of a one-hot coding.

    Raises:
        DataError: no more rows than coefficients, or columns that only vary together, by name.
    """
    factors = list(factors)
    names = list(dict.fromkeys([INTERCEPT, *(name for factor in factors for name in factor.columns)]))
    names = [name for name in names if name not in (RESPONSE, without)]
    rows = sum(factor.rows for factor in factors)
    stacked = _columns([*names, RESPONSE], [factor.matrix([*names, RESPONSE]) for factor in factors])
    # Below the first row, R is the factor of the columns less their means.
    constant = tuple(n for n in names[1:] if _norm(stacked[n][1:]) <= CONSTANT * max(1.0, _norm(stacked[n])))
    kept = [name for name in names if name not in constant]
    if rows <= len(kept):
        raise DataError("rows", rows, f"more than the {len(kept)} coefficients ({', '.join(kept)})")
    _refuse_collinear({name: stacked[name][1:] for name in kept[1:]})
    p = len(kept)
    r = _triangle(Design(stacked).matrix([*kept, RESPONSE]))
    beta = np.linalg.solve(r[:p, :p], r[:p, p])
    residual_std = float(abs(r[p, p]) / np.sqrt(rows - p)) if r.shape[0] > p else 0.0
    inverse = np.linalg.inv(r[:p, :p])
    std = residual_std * np.sqrt(np.sum(inverse**2, axis=1))
    return Solution(
        coefficients=dict(zip(kept, beta.tolist(), strict=True)),
        std=dict(zip(kept, std.tolist(), strict=True)),
        residual_std=residual_std,
        degrees_of_freedom=rows - p,
        constant=constant,
        factor=r[:p, :p],
    )


def _columns(names: Sequence[str], blocks: Sequence[Floats]) -> dict[str, Floats]:
    """The columns of R of stacked blocks, in the order of ``names``."""
    r = _triangle(np.vstack(blocks))
    return {name: r[:, place].copy() for place, name in enumerate(names)}


def _triangle(matrix: Floats) -> Floats:
    return cast(Floats, np.linalg.qr(matrix, mode="r"))


def _norm(column: Floats) -> float:
    return float(np.linalg.norm(column))


def _refuse_collinear(centred: Mapping[str, Floats]) -> None:
    if len(centred) < 2:
        return
    names = list(centred)
    scaled = np.column_stack([column / _norm(column) for column in centred.values()])
    values, directions = np.linalg.svd(scaled)[1:]
    if len(values) < len(names) or values[-1] < COLLINEAR * values[0]:
        together = [name for name, part in zip(names, directions[-1], strict=True) if abs(part) > 1e-3]
        raise DataError("axes", " and ".join(together), "rows in which these vary independently; here they do not")
