"""What rankers share whose score is linear in what a user has rated."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.compute import thread_count
from recsys.config import ComputeConfig
from recsys.models.base import Histories, Ranker, TopN
from recsys.score.finite import check_finite
from recsys.score.linear import largest_contribution, linear_top_n


class LinearRanker(Ranker):
    """score(u) = x(u) B with x(u) the user's binary row and B `weights`.

    Attributes:
        weights: (n_columns, n_columns) float32, B; row j is what having rated j adds to every score.
    """

    weights: NDArray[np.float32]

    @cached_property
    def finite_weights(self) -> NDArray[np.float32]:
        """`weights`, looked through once.

        Raises:
            UsageError: one is not a finite number.
        """
        check_finite(self.weights, "a weight of an item's row")
        return self.weights

    def score(self, histories: Histories) -> NDArray[np.float32]:
        """(n_users, n_columns) float32."""
        dense = binary_rows(histories).toarray().astype(np.float64)
        return (dense @ self.finite_weights.astype(np.float64)).astype(np.float32)

    def top_n(self, histories: Histories, n: int, compute: ComputeConfig) -> TopN:
        """The n best columns of each user."""
        values, threads = binary_rows(histories), thread_count(compute)
        return TopN(*linear_top_n(values, histories.seen, self.finite_weights, n, threads, allowed=histories.allowed))

    def because(self, histories: Histories, columns: NDArray[np.int32], compute: ComputeConfig) -> NDArray[np.int32]:
        """The rated column with the largest weight towards each listed one: exact, since the score is their sum."""
        return largest_contribution(binary_rows(histories), self.weights, columns, thread_count(compute))


def binary_rows(histories: Histories) -> csr_matrix:
    """(n, n_columns) CSR float32, 1 where a rating stands, a 0 too."""
    ratings = histories.ratings
    return csr_matrix((np.ones(ratings.nnz, np.float32), ratings.indices, ratings.indptr), shape=ratings.shape)
