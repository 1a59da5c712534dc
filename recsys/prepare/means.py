"""Preferences: ratings less what the overall, item and user means already explain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.compute import compiled


@dataclass(frozen=True, eq=False)
class Means:
    """Means learned one after the other, each on what the ones before leave: overall, then item, then user.

        preference(u, i) = rating(u, i) - overall - item[i] - user[u]

    Attributes:
        overall: mean of all ratings, in the input's units.
        item: (n_columns,) float64, mean of (rating - overall) of each item; 0 for an item without ratings.
        user: (n_users,) float64, mean of (rating - overall - item) of each user; 0 for a user without ratings.
    """

    overall: float
    item: NDArray[np.float64]
    user: NDArray[np.float64]

    @classmethod
    def learn(cls, ratings: csr_matrix) -> Means:
        """Learn the means of a (n_users, n_columns) CSR of ratings, in which every stored entry is a rating."""
        counts, sums = np.zeros(ratings.shape[1], np.int64), np.zeros(ratings.shape[1])
        tally(ratings.indices, ratings.data, counts, sums)
        overall, item = overall_and_item(counts, sums)
        return cls(overall, item, user_means(ratings, overall, item))

    def preferences(self, ratings: csr_matrix) -> csr_matrix:
        """The (n_users, n_columns) CSR of preferences, float32; a preference of exactly 0 stays a stored entry."""
        value = np.empty(ratings.nnz, np.float32)
        _preferences(ratings.indptr, ratings.indices, ratings.data, self.overall, self.item, self.user, value)
        return csr_matrix((value, ratings.indices, ratings.indptr), shape=ratings.shape)


@compiled
def tally(index, rating, counts, sums):  # type: ignore[no-untyped-def]
    """Add ratings to the `counts` (int64) and `sums` (float64) of what `index` names, one after the other.

    So that the result is the same however the ratings are cut into pieces, as long as the pieces come in order.
    """
    for at in range(len(index)):
        counts[index[at]] += 1
        sums[index[at]] += rating[at]


def overall_and_item(counts: NDArray[np.int64], sums: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
    """The overall and the item means, from the number and the sum of the ratings of each item."""
    overall = float(sums.sum() / max(counts.sum(), 1))
    return overall, np.where(counts > 0, sums / np.maximum(counts, 1) - overall, 0.0)


def user_means(ratings: csr_matrix, overall: float, item: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) mean of (rating - overall - item) of each row, 0 for an empty one; also for people who come later."""
    means = np.zeros(ratings.shape[0])
    _user_means(ratings.indptr, ratings.indices, ratings.data, overall, item, means)
    return means


@compiled
def _user_means(indptr, column, rating, overall, item, means):  # type: ignore[no-untyped-def]
    for user in range(len(means)):
        total = 0.0
        for at in range(indptr[user], indptr[user + 1]):
            total += rating[at] - overall - item[column[at]]
        means[user] = total / max(indptr[user + 1] - indptr[user], 1)


@compiled
def _preferences(indptr, column, rating, overall, item, user, out):  # type: ignore[no-untyped-def]
    for row in range(len(user)):
        for at in range(indptr[row], indptr[row + 1]):
            out[at] = rating[at] - overall - item[column[at]] - user[row]


def rows_of(matrix: csr_matrix) -> NDArray[np.int64]:
    """(nnz,) row of each stored entry of a CSR matrix."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
