"""Top-n of a factor model: inner products of user and item vectors, block by block, exact to the last bit.

A score is the sum over the factors, in their order and in float64, of the products of the float32 vectors, rounded to
float32. A matrix product in float32 is many times faster, and sums in an order that depends on the shapes. So it only
chooses: whatever cannot be among the n best, by more than the product may err, is dropped, and what is left (little
more than n columns a user) is scored anew and selected.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.compute import compiled, one_blas_thread, over_ranges
from recsys.score.selection import empty_lists, select

BLOCK_BYTES = 8 << 20  # of approximate scores at once a thread; beyond a core's share of cache more does not pay
ROUNDING = 2.0**-24  # half the distance of two float32 around 1

Vectors = NDArray[np.float32]


def factor_scores(users: Vectors, items: Vectors, threads: int) -> NDArray[np.float32]:
    """(n_users, n_columns) the exact scores of all pairs."""
    scores = np.empty((len(users), len(items)), np.float32)

    def work(start: int, stop: int) -> None:
        _score_rows(start, stop, users, items, scores)

    over_ranges(work, len(users), threads)
    return scores


def factor_top_n(
    users: Vectors, items: Vectors, seen: csr_matrix, n: int, threads: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The n best columns of users @ items.T for each row by the exact score, ties by column, seen columns left out.

    Args:
        users: (n_users, size) float32.     items: (n_columns, size) float32, C-contiguous.
        seen: (n_users, n_columns) CSR; a stored entry is left out.

    Returns:
        columns (n_users, n) int32, -1 where there is no candidate, and scores (n_users, n) float32.
    """
    columns, scores = empty_lists(len(users), n)
    margin = product_error(users, items)
    step = max(1, BLOCK_BYTES // (4 * max(len(items), 1)))

    def work(start: int, stop: int) -> None:
        for first in range(start, stop, step):
            last = min(first + step, stop)
            product = users[first:last] @ items.T
            _select_rows(first, last, product, margin, users, items, seen.indptr, seen.indices, columns, scores)

    with one_blas_thread():
        over_ranges(work, len(users), threads)
    return columns, scores


def product_error(users: Vectors, items: Vectors) -> NDArray[np.float64]:
    """(n_users,) no float32 inner product of a user's vector and an item's is further from the published score.

    |fl(x . y) - x . y| <= size u / (1 - size u) |x|.|y| in any order of summation (Higham, Accuracy and Stability of
    Numerical Algorithms, 2002, section 3.1), and |x|.|y| is at most the product of the norms. Two more u for rounding
    the score itself, and twice all of it for the float64 sums and for what is lost below the smallest float32.
    """

    def norms(vectors: Vectors) -> NDArray[np.float64]:
        return np.sqrt(np.einsum("nk,nk->n", vectors, vectors, dtype=np.float64))

    largest = float(np.max(norms(items), initial=0.0))
    return 2.0 * (users.shape[1] + 2) * ROUNDING * norms(users) * largest + np.float64(np.finfo(np.float32).tiny)


@compiled
def _dot(left, right):  # type: ignore[no-untyped-def]
    total = 0.0
    for factor in range(len(left)):
        total += np.float64(left[factor]) * np.float64(right[factor])
    return total


@compiled
def _score_rows(start, stop, users, items, scores):  # type: ignore[no-untyped-def]
    for user in range(start, stop):
        for column in range(len(items)):
            scores[user, column] = _dot(users[user], items[column])


@compiled
def _select_rows(first, last, product, margin, users, items, seen_indptr, seen_indices, columns, scores):  # type: ignore[no-untyped-def]
    n = columns.shape[1]
    kept, exact = np.empty(product.shape[1], np.int32), np.empty(product.shape[1], np.float64)
    nearly = np.empty(n, np.int32)
    floor = np.empty(n, np.float32)
    for user in range(first, last):
        row = product[user - first]
        for place in range(seen_indptr[user], seen_indptr[user + 1]):
            row[seen_indices[place]] = -np.inf
        floor[:] = -np.inf
        select(row, nearly, floor)
        # The true n best have at least the n-th approximate score, less an error on either side of the comparison.
        least = np.float64(floor[n - 1]) - 2.0 * margin[user]
        found = 0
        for column in range(len(row)):
            if row[column] >= least and row[column] != -np.inf:
                kept[found] = column
                exact[found] = _dot(users[user], items[column])
                found += 1
        select(exact[:found], columns[user], scores[user])
        for place in range(min(found, n)):
            columns[user, place] = kept[columns[user, place]]
