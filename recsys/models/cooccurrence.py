"""The Gram matrix of binary interactions: in how many users two items occur together, each user with a weight."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.compute import compiled, over_ranges


def upper_gram(binary: csr_matrix, threads: int, user_weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Upper triangle (diagonal included) of X^T W X for a binary (n_users, n_columns) CSR X; the rest is 0.

    Each row of the result is summed by itself over the users of its item, in their order and in a buffer that fits
    the cache, so that the sums do not depend on the threads. Cost: the sum over users of ratings^2 / 2.

    Args:
        user_weight: (n_users,) the diagonal of W.

    Returns:
        (n_columns, n_columns) float64, C-contiguous.
    """
    by_item = binary.tocsc()
    gram = np.zeros((binary.shape[1], binary.shape[1]))

    def work(start: int, stop: int) -> None:
        _sum_rows(start, stop, by_item.indptr, by_item.indices, binary.indptr, binary.indices, user_weight, gram)

    # Many small pieces: the first rows hold the most pairs.
    over_ranges(work, len(gram), threads, pieces_a_thread=64)
    return gram


@compiled
def _sum_rows(start, stop, item_indptr, item_users, user_indptr, user_items, user_weight, gram):  # type: ignore[no-untyped-def]
    for item in range(start, stop):
        row = gram[item]
        for place in range(item_indptr[item], item_indptr[item + 1]):
            user = item_users[place]
            weight = user_weight[user]
            for other in range(user_indptr[user + 1] - 1, user_indptr[user] - 1, -1):
                if user_items[other] < item:
                    break
                row[user_items[other]] += weight
