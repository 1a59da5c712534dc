"""Top-n of a linear model: a user's CSR row times a dense item-item matrix, a strip of columns at a time.

A strip (64 columns: 256 bytes x n_columns, 930 KB for 3,706 items) stays in a second-level cache while a block of users
passes by, and a user's sums stay in registers while the rated rows of the strip are added. With more items strips of 16
columns do (640 KB for 10,000). The cost is ratings x n_columns, never users x n_columns^2. Float32 sums would take half
of the registers, but what passes would have to be summed anew from rows that lie far apart in memory, which costs what
they save.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.compute import compiled, over_ranges
from recsys.score.lanes import (
    LANES,
    STRIPS,
    at_least,
    lowest_bit,
    narrow_sparse_kernel,
    wide_sparse_kernel,
)
from recsys.score.selection import empty_lists, select
from recsys.score.tiles import (
    CANDIDATE_BYTES,
    LOWEST,
    SPARE,
    even_edges,
    list_best,
    nth_largest,
    seen_by_tile,
)

WIDE_ROWS = 4_096  # rows that a strip of 64 columns may have: 1 MiB
BLOCK = 1_024  # users a block: the strip is copied once a block, which costs as much as two or three users more


def linear_top_n(
    values: csr_matrix,
    seen: csr_matrix,
    weights: NDArray[np.float32],
    n: int,
    threads: int,
    *,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The n best columns of values @ weights for each row, seen columns left out.

    Sums run in float64 in the order of the columns, so that a result depends on nothing but its own row.

    Args:
        values: (n_users, n_columns) CSR float32.
        seen: (n_users, n_columns) CSR; a stored entry is left out.
        weights: (n_columns, n_columns) float32, C-contiguous; row j is what column j adds to every score.
        allowed: (n_columns,) bool; the others are left out for all, and not summed. None allows all.

    Returns:
        columns (n_users, n) int32, -1 where there is no candidate, and scores (n_users, n) float32.
    """
    n_users = values.shape[0]
    columns, scores = empty_lists(n_users, n)
    order = np.arange(weights.shape[1], dtype=np.int32)
    order = order if allowed is None else order[allowed]
    place = np.full(weights.shape[1], -1, np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    if not n_users or not n or not len(order):
        return columns, scores
    indices, data = values.indices.astype(np.int32, copy=False), values.data.astype(np.float32, copy=False)
    edges = even_edges(n_users, max(1, min(BLOCK, CANDIDATE_BYTES // (8 * (2 * n + SPARE)))), threads)

    def work(first: int, last: int) -> None:
        for start, stop in pairwise(edges[first : last + 1]):
            _linear_block(
                start, stop, values.indptr, indices, data, order, place, seen.indptr, seen.indices, weights,
                len(weights) <= WIDE_ROWS, columns, scores,
            )  # fmt: skip

    over_ranges(work, len(edges) - 1, threads)
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
def _linear_block(  # type: ignore[no-untyped-def]
    start, stop, indptr, indices, data, order, place, seen_indptr, seen_indices, weights, wide, columns, scores
):
    """The lists of users start..stop-1. Candidates come in the order of the columns, so a later tie never enters.

    A candidate is held by its place among the columns allowed, `order`.
    """
    n, n_users, n_columns = columns.shape[1], stop - start, len(order)
    found = np.empty((n_users, 2 * n + SPARE), np.int32)
    value = np.empty((n_users, 2 * n + SPARE), np.float32)
    held, least = np.zeros(n_users, np.int64), np.full(n_users, LOWEST, np.float32)
    spare = np.empty(2 * n + SPARE, np.float32)
    width = STRIPS[1] if wide else STRIPS[0]
    n_strips = -(-n_columns // width)
    places, edges = seen_by_tile(start, stop, place, width, n_strips, seen_indptr, seen_indices)
    strip, out = np.zeros(len(weights) * width, np.float32), np.empty(LANES, np.float32)
    for number in range(n_strips):
        begin, filled = number * width, min(width, n_columns - number * width)
        _fill(strip, width, weights, order[begin : begin + filled])
        for user in range(n_users):
            if wide:
                wide_sparse_kernel(strip, indices, data, indptr[start + user], indptr[start + user + 1], out)
            else:
                narrow_sparse_kernel(strip, indices, data, indptr[start + user], indptr[start + user + 1], out)
            for entry in range(edges[user, number], edges[user, number + 1]):
                out[places[entry] - begin] = -np.inf
            out[filled:] = -np.inf
            passing = at_least(out, 0, least[user])
            while passing != 0:
                lane = lowest_bit(passing)
                passing &= passing - np.uint64(1)
                if out[lane] > least[user]:
                    value[user, held[user]], found[user, held[user]] = out[lane], begin + lane
                    held[user] += 1
                    if held[user] == len(spare):
                        _keep_best(user, n, found, value, held, least, spare)
    for user in range(n_users):
        count = held[user]
        list_best(order[found[user, :count]], value[user, :count], columns[start + user], scores[start + user])


@compiled
def _fill(strip, width, weights, columns):  # type: ignore[no-untyped-def]
    """The strip's first lanes are these columns of the weights, in ascending order."""
    first, filled = columns[0], len(columns)
    together = columns[filled - 1] - first == filled - 1
    for row in range(len(weights)):
        if together:
            strip[row * width : row * width + filled] = weights[row, first : first + filled]
        else:
            for lane in range(filled):
                strip[row * width + lane] = weights[row, columns[lane]]


@compiled
def _keep_best(user, n, found, value, held, least, spare):  # type: ignore[no-untyped-def]
    """Let go of all candidates but the n best, of equal ones the first; what comes later must be better than them."""
    count = held[user]
    spare[:] = value[user]
    nth = nth_largest(spare, count, n)
    ties = n
    for at in range(count):
        ties -= value[user, at] > nth
    kept = 0
    for at in range(count):
        score = value[user, at]
        if score > nth or (score == nth and ties > 0):
            ties -= score == nth
            value[user, kept], found[user, kept] = score, found[user, at]
            kept += 1
    held[user], least[user] = kept, nth


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
