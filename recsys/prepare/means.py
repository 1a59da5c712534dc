"""Preferences: ratings less what the overall, item and user means already explain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix


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
        column, value = ratings.indices, ratings.data.astype(np.float64)
        overall = float(value.mean()) if len(value) else 0.0
        rest = value - overall
        item = _mean_by(column, rest, ratings.shape[1])
        return cls(overall, item, user_means(ratings, overall, item))

    def preferences(self, ratings: csr_matrix) -> csr_matrix:
        """The (n_users, n_columns) CSR of preferences, float32; a preference of exactly 0 stays a stored entry."""
        row, column = rows_of(ratings), ratings.indices
        value = ratings.data.astype(np.float64) - self.overall - self.item[column] - self.user[row]
        return csr_matrix((value.astype(np.float32), column, ratings.indptr), shape=ratings.shape)


def user_means(ratings: csr_matrix, overall: float, item: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) mean of (rating - overall - item) of each row, 0 for an empty one; also for people who come later."""
    rest = ratings.data.astype(np.float64) - overall - item[ratings.indices]
    return _mean_by(rows_of(ratings), rest, ratings.shape[0])


def rows_of(matrix: csr_matrix) -> NDArray[np.int64]:
    """(nnz,) row of each stored entry of a CSR matrix."""
    return np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))


def _mean_by(group: NDArray, value: NDArray[np.float64], n_groups: int) -> NDArray[np.float64]:
    total = np.bincount(group, weights=value, minlength=n_groups)
    return total / np.maximum(np.bincount(group, minlength=n_groups), 1)
