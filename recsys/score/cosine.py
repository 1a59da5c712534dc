"""Nearest items by the cosine of their vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, eye_array

from recsys.score.engine import top_n
from recsys.score.formula import product
from recsys.score.selection import NOTHING, empty_lists


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
    columns, cosines = empty_lists(len(vectors), n)
    rows = np.flatnonzero(learned).astype(np.int32)
    length = np.sqrt(np.einsum("nk,nk->n", vectors[rows], vectors[rows], dtype=np.float64))
    unit = (vectors[rows] / np.where(length > 0, length, 1.0)[:, None]).astype(np.float32)
    itself = csr_matrix(eye_array(len(unit), format="csr"))
    near, cosines[rows] = top_n(product(unit, unit), itself, n, threads)
    columns[rows] = np.where(near >= 0, rows[near], NOTHING)
    return columns, cosines
