"""What a set of lists is like, whatever its hits: coverage, novelty, diversity, concentration."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

FORMULAS = {
    "coverage": "distinct items among all first k / items with a rating in training",
    "novelty": "mean of -log2(training ratings of the item / users) over all first k (an item without one counts as 1)",
    "diversity": "intra-list diversity: 1 - cosine of the items' binary training columns, mean over the pairs of the "
    "first k of a list, over a seeded sample of at most 500 users",
    "gini": "Gini index of how often each item with a training rating stands among all first k; 1: one item only",
}
SAMPLE_USERS = 500  # 500 lists of 20 name at most 10,000 items; their co-ratings stay within 800 MB

Times = NDArray[np.int64]  # (n_items,) how often each item stands in a list


def coverage(times: Times, item_counts: NDArray[np.int64]) -> float:
    """Share of the items that stand in any list."""
    return int(np.count_nonzero(times)) / max(int(np.count_nonzero(item_counts)), 1)


def novelty(times: Times, item_counts: NDArray[np.int64], n_users: int) -> float:
    """Mean self-information of the listed items in bits."""
    listed = np.flatnonzero(times)
    if not len(listed):
        return 0.0
    information = -np.log2(np.maximum(item_counts[listed], 1) / n_users)
    return float(information @ times[listed] / times.sum())


def gini(times: Times, item_counts: NDArray[np.int64]) -> float:
    """Gini index over the items with a rating, of how often each is listed.

    G = sum_i (2 i - n - 1) x_i / (n sum x), x ascending, i from 1.
    """
    rated = times[item_counts > 0]
    n, total = len(rated), rated.sum()
    if not total:
        return 0.0
    return float(((2 * np.arange(1, n + 1) - n - 1) * np.sort(rated)).sum() / (n * total))


def sampled_users(n_users: int, seed: int) -> NDArray[np.int64]:
    """The user_index of those whose lists diversity is measured on, ascending."""
    return np.sort(np.random.default_rng(seed).choice(n_users, size=min(SAMPLE_USERS, n_users), replace=False))


def item_distances(
    lists: NDArray[np.int32], binary: Iterable[csr_matrix], column_of: NDArray[np.int32]
) -> NDArray[np.float64]:
    """(n_lists, n, n) 1 - cosine of each two items of a list; 1 where one has no training column.

    Args:
        lists: (n_lists, n) item_index, of some users; -1 where a list is short.
        binary: the training interactions of all users, some rows at a time, (m, n_columns) CSR.
        column_of: (n_items,) column of an item_index, -1 for none.
    """
    columns = np.where(lists >= 0, column_of[lists], -1)
    known, place = np.unique(columns, return_inverse=True)
    together = np.zeros((len(known), len(known)))
    for rows in binary:
        vectors = rows[:, np.maximum(known, 0)]
        together += (vectors.T @ vectors).toarray()
    size = np.sqrt(np.maximum(together.diagonal(), 1.0))
    distance = 1.0 - together / np.outer(size, size)
    if len(known) and known[0] < 0:
        distance[0], distance[:, 0] = 1.0, 1.0
    place = place.reshape(columns.shape)
    return np.asarray(distance[place[:, :, None], place[:, None, :]])


def diversity(lists: NDArray[np.int32], distances: NDArray[np.float64]) -> float:
    """Mean pairwise distance within a list; of the first k where `lists` are cut to k columns.

    Args:
        lists: (n_lists, k) item_index.
        distances: (n_lists, n, n) as `item_distances` has them, n at least k.
    """
    left, right = np.triu_indices(lists.shape[1], 1)
    both = (lists[:, left] >= 0) & (lists[:, right] >= 0)
    pairs = distances[:, left, right][both]
    return float(pairs.mean()) if len(pairs) else 0.0
