"""What a model learns from: the ratings of one part as CSR matrices over the items kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.identifiers import UNKNOWN
from recsys.prepare.means import Means, tally
from recsys.read.repeats import by_pair


@dataclass(frozen=True, eq=False)
class Catalogue:
    """What of a training set is an item's: as large for any number of users.

    Attributes:
        items: (n_columns,) int32, the item_index of each column, ascending.
        item_counts: (n_items,) int64, ratings of every item of the input, kept or not.
        item_sums: (n_items,) float64, the sum of those ratings.
    """

    items: NDArray[np.int32]
    item_counts: NDArray[np.int64]
    item_sums: NDArray[np.float64]

    @cached_property
    def column_of(self) -> NDArray[np.int32]:
        """(n_items,) the column of each item_index, `UNKNOWN` for an item not kept."""
        return columns_of(self.items, len(self.item_counts))

    @cached_property
    def popular(self) -> NDArray[np.int32]:
        """The item_index of all items with a rating, by (ratings descending, item_index ascending)."""
        return by_popularity(self.item_counts)[: np.count_nonzero(self.item_counts)]


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Ratings of all users on the items kept; a column is an item kept.

    Attributes:
        items: (n_columns,) int32, the item_index of each column, ascending.
        ratings: (n_users, n_columns) CSR float32, in the input's units; column indices ascend within a row and every
            stored entry is a rating, a 0 too.
        trained: (n_users,) bool, users with enough ratings to learn from; the others are only served.
        item_counts: (n_items,) int64, ratings of every item of the input in this part, kept or not.
        item_sums: (n_items,) float64, the sum of those ratings.
    """

    items: NDArray[np.int32]
    ratings: csr_matrix
    trained: NDArray[np.bool_]
    item_counts: NDArray[np.int64]
    item_sums: NDArray[np.float64]

    @property
    def n_users(self) -> int:
        """Rows of the matrices: all users of the input."""
        return int(self.ratings.shape[0])

    @property
    def n_items(self) -> int:
        """All items of the input, kept or not."""
        return len(self.item_counts)

    @property
    def catalogue(self) -> Catalogue:
        """Its items."""
        return Catalogue(self.items, self.item_counts, self.item_sums)

    @cached_property
    def learned(self) -> csr_matrix:
        """`ratings` with the rows of users that are not `trained` emptied."""
        return self.ratings if self.trained.all() else emptied(self.ratings, self.trained)

    @cached_property
    def means(self) -> Means:
        """The means of the ratings learned from."""
        return Means.learn(self.learned)

    @cached_property
    def preferences(self) -> csr_matrix:
        """(n_users, n_columns) CSR float32 of the ratings learned from, less their means."""
        return self.means.preferences(self.learned)

    @cached_property
    def binary(self) -> csr_matrix:
        """(n_users, n_columns) CSR float32, 1 where a rating learned from stands."""
        learned = self.learned
        return csr_matrix((np.ones(learned.nnz, np.float32), learned.indices, learned.indptr), shape=learned.shape)

    @cached_property
    def learned_columns(self) -> NDArray[np.bool_]:
        """(n_columns,) bool, columns with a rating that is learned from."""
        if self.trained.all():  # an item is kept for its ratings
            return np.ones(len(self.items), dtype=bool)
        return np.bincount(self.learned.indices, minlength=len(self.items)) > 0

    @cached_property
    def learned_column_of(self) -> NDArray[np.int32]:
        """`column_of`, and `UNKNOWN` for an item without a rating that is learned from too."""
        column = self.column_of
        return np.where((column != UNKNOWN) & self.learned_columns[column], column, np.int32(UNKNOWN))

    @cached_property
    def column_of(self) -> NDArray[np.int32]:
        """(n_items,) the column of each item_index, `UNKNOWN` for an item not kept."""
        return columns_of(self.items, self.n_items)


def build_training_set(
    user_index: NDArray[np.int32],
    item_index: NDArray[np.int32],
    rating: NDArray[np.float32],
    shape: tuple[int, int],
    *,
    top_items: int,
    min_user_ratings: int,
) -> TrainingSet:
    """Filter the ratings of one part and lay them out by user.

    Args:
        user_index, item_index, rating: (n_ratings,) one rating a pair, in any order.
        shape: (n_users, n_items) of the whole input.
        top_items: keep that many items, by (ratings in this part descending, item_index ascending); 0 keeps all.
        min_user_ratings: users with fewer ratings of kept items are not learned from.
    """
    n_users, n_items = shape
    order = by_pair(user_index, item_index, 0, n_users, n_items)
    counts, sums = np.zeros(n_items, np.int64), np.zeros(n_items)
    tally(item_index[order], rating[order], counts, sums)
    items = most_rated(counts, top_items)
    indptr = np.concatenate(([0], np.cumsum(np.bincount(user_index, minlength=n_users))))
    matrix = in_columns(indptr, item_index[order], rating[order], items, n_items)
    trained = np.diff(matrix.indptr) >= min_user_ratings
    return TrainingSet(items, matrix, trained, counts, sums)


def in_columns(
    indptr: NDArray[np.int64],
    item_index: NDArray[np.int32],
    rating: NDArray[np.float32],
    items: NDArray[np.int32],
    n_items: int,
) -> csr_matrix:
    """(n_users, n_columns) CSR float32 of the ratings of the items kept; no entry is summed, so a stored 0 stays.

    Args:
        indptr, item_index, rating: ratings by (user, item), one a pair.
        items: (n_columns,) the items kept, ascending.
    """
    column = columns_of(items, n_items)[item_index]
    keep = column != UNKNOWN
    edges = np.concatenate(([0], np.cumsum(keep)))[indptr]
    return csr_matrix((rating[keep], column[keep], edges), shape=(len(indptr) - 1, len(items)))


def columns_of(items: NDArray[np.int32], n_items: int) -> NDArray[np.int32]:
    """(n_items,) the column of each item_index, `UNKNOWN` for an item not kept."""
    columns = np.full(n_items, UNKNOWN, dtype=np.int32)
    columns[items] = np.arange(len(items), dtype=np.int32)
    return columns


def emptied(matrix: csr_matrix, trained: NDArray[np.bool_]) -> csr_matrix:
    """A CSR matrix with the rows of users that are not `trained` emptied."""
    sizes = np.diff(matrix.indptr)
    keep = np.repeat(trained, sizes)
    indptr = np.concatenate(([0], np.cumsum(np.where(trained, sizes, 0)))).astype(matrix.indptr.dtype)
    return csr_matrix((matrix.data[keep], matrix.indices[keep], indptr), shape=matrix.shape)


def most_rated(counts: NDArray[np.int64], top_items: int) -> NDArray[np.int32]:
    """The item_index of the items kept, ascending. Items without a rating in this part are never kept.

    >>> most_rated(np.array([3, 5, 3, 0]), 2)
    array([0, 1], dtype=int32)
    """
    order = by_popularity(counts)[: np.count_nonzero(counts)]
    return np.sort(order[:top_items] if top_items else order)


def by_popularity(counts: NDArray[np.int64]) -> NDArray[np.int32]:
    """All item_index by (count descending, item_index ascending)."""
    return np.argsort(-counts, kind="stable").astype(np.int32)
