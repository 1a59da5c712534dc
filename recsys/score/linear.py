"""Top-n of a linear model: a user's CSR row times a dense item-item matrix, one user at a time in cache.

The row of running scores (8 bytes x n_columns: 30 KB for 3,706 items) stays in the first-level cache while the rows of
the weights stream past it, so the cost is ratings x n_columns, never users x n_columns^2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.compute import compiled, over_ranges
from recsys.score.selection import empty_lists, select


def linear_top_n(
    values: csr_matrix, seen: csr_matrix, weights: NDArray[np.float32], n: int, threads: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The n best columns of values @ weights for each row, seen columns left out.

    Sums run in float64 in the order of the columns, so that a result depends on nothing but its own row.

    Args:
        values: (n_users, n_columns) CSR float32.
        seen: (n_users, n_columns) CSR; a stored entry is left out.
        weights: (n_columns, n_columns) float32, C-contiguous; row j is what column j adds to every score.

    Returns:
        columns (n_users, n) int32, -1 where there is no candidate, and scores (n_users, n) float32.
    """
    columns, scores = empty_lists(values.shape[0], n)

    def work(start: int, stop: int) -> None:
        _linear_rows(
            start, stop, values.indptr, values.indices, values.data, seen.indptr, seen.indices, weights, columns, scores
        )

    over_ranges(work, len(columns), threads)
    return columns, scores


def largest_contribution(
    values: csr_matrix, weights: NDArray[np.float32], columns: NDArray[np.int32], threads: int
) -> NDArray[np.int32]:
    """(n_users, n) the column j of a user's row whose values[j] * weights[j, column] is largest; ties by column.

    -1 where `columns` is -1 or the row is empty.
    """
    reasons = np.full(columns.shape, -1, dtype=np.int32)

    def work(start: int, stop: int) -> None:
        _reason_rows(start, stop, values.indptr, values.indices, values.data, weights, columns, reasons)

    over_ranges(work, len(columns), threads)
    return reasons


def largest_of_rows(
    weights: NDArray[np.float32], n: int, threads: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The n largest entries of each row of a square matrix, the diagonal left out: columns (-1: none left), values."""
    columns, values = empty_lists(len(weights), n)

    def work(start: int, stop: int) -> None:
        _largest_rows(start, stop, weights, columns, values)

    over_ranges(work, len(columns), threads)
    return columns, values


@compiled
def _largest_rows(start, stop, weights, columns, values):  # type: ignore[no-untyped-def]
    row = np.empty(weights.shape[1], np.float64)
    for item in range(start, stop):
        row[:] = weights[item]
        row[item] = -np.inf
        select(row, columns[item], values[item])


@compiled
def _linear_rows(start, stop, indptr, indices, data, seen_indptr, seen_indices, weights, columns, scores):  # type: ignore[no-untyped-def]
    running = np.empty(weights.shape[1], np.float64)
    for user in range(start, stop):
        running[:] = 0.0
        for place in range(indptr[user], indptr[user + 1]):
            row = weights[indices[place]]
            value = np.float64(data[place])
            for column in range(len(running)):
                running[column] += value * row[column]
        for place in range(seen_indptr[user], seen_indptr[user + 1]):
            running[seen_indices[place]] = -np.inf
        select(running, columns[user], scores[user])


@compiled
def _reason_rows(start, stop, indptr, indices, data, weights, columns, reasons):  # type: ignore[no-untyped-def]
    for user in range(start, stop):
        for rank in range(columns.shape[1]):
            column = columns[user, rank]
            best = -np.inf
            for place in range(indptr[user], indptr[user + 1]):
                added = (
                    np.float64(data[place]) * np.float64(weights[indices[place], column]) if column >= 0 else -np.inf
                )
                if added > best:
                    best = added
                    reasons[user, rank] = indices[place]
