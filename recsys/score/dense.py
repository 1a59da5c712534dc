"""Top-n from dense rows of scores, made a fixed block of users at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.compute import compiled, one_blas_thread, over_ranges
from recsys.score.selection import empty_lists, select

# Always that many rows in a product, the last block filled up: so BLAS sums each row in one order, whatever the number
# of users, and a list depends on nothing but its own user. 256 x 10,000 items x 8 bytes is 20 MB.
BLOCK = 256

Rows = NDArray[np.int64]
Scores = NDArray[np.float64]


def in_blocks(score: Callable[[Rows], Scores], n_users: int, take: Callable[[int, Scores], None]) -> None:
    """Call `take(first row, scores)` for each block of rows 0..n_users-1.

    Args:
        score: (BLOCK,) row numbers to (BLOCK, n_columns) float64.
    """
    with one_blas_thread():
        for start in range(0, n_users, BLOCK):
            rows = np.arange(start, start + BLOCK)
            take(start, score(np.minimum(rows, n_users - 1))[: n_users - start])


def all_scores(score: Callable[[Rows], Scores], n_users: int, n_columns: int) -> NDArray[np.float32]:
    """(n_users, n_columns) float32."""
    scores = np.empty((n_users, n_columns), np.float32)

    def take(start: int, block: Scores) -> None:
        scores[start : start + len(block)] = block

    in_blocks(score, n_users, take)
    return scores


def dense_top_n(
    score: Callable[[Rows], Scores],
    seen: csr_matrix,
    n: int,
    threads: int,
    *,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The n best columns of each row by (float32 score descending, column ascending), seen ones left out.

    Args:
        score: as for `in_blocks`; -inf leaves a column out.
        seen: (n_users, n_columns) CSR; a stored entry is left out.
        allowed: (n_columns,) bool; the others are left out for all. None allows all.

    Returns:
        columns (n_users, n) int32, -1 where there is no candidate, and scores (n_users, n) float32.
    """
    columns, scores = empty_lists(seen.shape[0], n)
    denied = np.flatnonzero(~allowed) if allowed is not None else np.empty(0, np.int64)

    def take(first: int, block: Scores) -> None:
        def work(start: int, stop: int) -> None:
            _select_rows(start, stop, first, block, seen.indptr, seen.indices, denied, columns, scores)

        over_ranges(work, len(block), threads)

    in_blocks(score, seen.shape[0], take)
    return columns, scores


@compiled
def _select_rows(start, stop, first, block, seen_indptr, seen_indices, denied, columns, scores):  # type: ignore[no-untyped-def]
    for row in range(start, stop):
        user = first + row
        for place in range(seen_indptr[user], seen_indptr[user + 1]):
            block[row, seen_indices[place]] = -np.inf
        for column in denied:
            block[row, column] = -np.inf
        select(block[row], columns[user], scores[user])
