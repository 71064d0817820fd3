"""A covariance as a stored fit holds it."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.laws.work.packed import packed, unpacked


@pytest.mark.parametrize("size", [0, 1, 2, 7, 60])
def test_it_comes_back_as_it_was(size: int) -> None:
    half = np.random.default_rng(size).normal(size=(size, size))
    matrix = half + half.T
    assert np.array_equal(unpacked(packed(matrix)), matrix)


def test_one_that_was_stored_as_lists_is_read() -> None:
    assert np.array_equal(unpacked([[2.0, 1.0], [1.0, 3.0]]), [[2.0, 1.0], [1.0, 3.0]])


@pytest.mark.parametrize("text", ["not base 64!", "AAAA"])
def test_what_is_no_matrix_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of base64 or of numpy
        unpacked(text)
