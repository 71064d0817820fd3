"""A symmetric matrix as text: a fifth of what its numbers take when they are written out, and read back exactly."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import numpy as np

from analysis.table import Floats


def packed(matrix: Floats) -> str:
    """The lower triangle of (P, P), row by row, as little-endian doubles in base 64."""
    return b64encode(matrix[np.tril_indices(len(matrix))].astype("<f8").tobytes()).decode("ascii")


def unpacked(text: Any) -> Floats:
    """The matrix again; one written out as lists, as stored fits of earlier have it, is taken too. ValueError for
    what is neither."""
    if not isinstance(text, str):
        return np.array(text, dtype=np.float64)
    triangle = np.frombuffer(b64decode(text, validate=True), dtype="<f8")
    size = int(np.sqrt(2 * len(triangle)))
    matrix = np.zeros((size, size))
    matrix[np.tril_indices(size)] = triangle
    return matrix + np.tril(matrix, -1).T
