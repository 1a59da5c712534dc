"""What a set of lists is like, whatever its hits: coverage, novelty, diversity, concentration."""

from __future__ import annotations

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


def coverage(lists: NDArray[np.int32], item_counts: NDArray[np.int64]) -> float:
    """Share of the items that stand in any list."""
    return len(np.unique(lists[lists >= 0])) / max(int(np.count_nonzero(item_counts)), 1)


def novelty(lists: NDArray[np.int32], item_counts: NDArray[np.int64], n_users: int) -> float:
    """Mean self-information of the listed items in bits."""
    listed = lists[lists >= 0]
    if not len(listed):
        return 0.0
    return float(-np.log2(np.maximum(item_counts[listed], 1) / n_users).mean())


def gini(lists: NDArray[np.int32], item_counts: NDArray[np.int64]) -> float:
    """Gini index over the items with a rating, of how often each is listed.

    G = sum_i (2 i - n - 1) x_i / (n sum x), x ascending, i from 1.
    """
    times = np.bincount(lists[lists >= 0], minlength=len(item_counts))[item_counts > 0]
    n, total = len(times), times.sum()
    if not total:
        return 0.0
    return float(((2 * np.arange(1, n + 1) - n - 1) * np.sort(times)).sum() / (n * total))


def diversity(lists: NDArray[np.int32], binary: csr_matrix, column_of: NDArray[np.int32], seed: int) -> float:
    """Mean pairwise distance within a list; items outside the training columns share no user with any other.

    Args:
        lists: (n_users, k) item_index.
        binary: (n_users, n_columns) CSR of the training interactions.
        column_of: (n_items,) column of an item_index, -1 for none.
    """
    rng = np.random.default_rng(seed)
    users = rng.choice(len(lists), size=min(SAMPLE_USERS, len(lists)), replace=False)
    columns = np.where(lists[users] >= 0, column_of[lists[users]], -1)
    known, place = np.unique(columns, return_inverse=True)
    vectors = binary[:, np.maximum(known, 0)]
    together = (vectors.T @ vectors).toarray()
    size = np.sqrt(np.maximum(together.diagonal(), 1.0))
    distance = 1.0 - together / np.outer(size, size)
    if known[0] < 0:
        distance[0], distance[:, 0] = 1.0, 1.0
    place = place.reshape(columns.shape)
    left, right = np.triu_indices(lists.shape[1], 1)
    both = (lists[users][:, left] >= 0) & (lists[users][:, right] >= 0)
    pairs = distance[place[:, left], place[:, right]][both]
    return float(pairs.mean()) if len(pairs) else 0.0
