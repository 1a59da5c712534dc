"""Nearest items by the cosine of their vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, identity

from recsys.score.dense import Rows, Scores, dense_top_n


def nearest_by_cosine(
    vectors: NDArray[np.float32], learned: NDArray[np.bool_], n: int, threads: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The n nearest rows of each row, itself left out, by (cosine descending, row ascending).

    Args:
        vectors: (n_items, size) float32; a row of zeros has the cosine 0 with all.
        learned: (n_items,) bool; others are near to nothing and nothing is near to them.

    Returns:
        columns (n_items, n) int32, -1 where there is none, and cosines (n_items, n) float32.
    """
    unit = vectors.astype(np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), np.finfo(np.float64).tiny)

    def score(rows: Rows) -> Scores:
        return np.where(learned[rows, None] & learned, unit[rows] @ unit.T, -np.inf)

    return dense_top_n(score, csr_matrix(identity(len(unit), np.int8)), n, threads)
