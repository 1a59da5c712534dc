"""The Gram matrix of binary interactions: in how many users two items occur together, each user with a weight.

Weights are whole numbers, so every sum is one too, and exact in float64 below 2^53: the same to the bit for any order,
any split of the users into shards, and whether it is summed anew or brought up to date (`recsys.models.gram_update`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.compute import compiled, over_ranges
from recsys.errors import UsageError
from recsys.models.triangle import PIECES_A_THREAD, Triangle, row_start
from recsys.prepare.training_set import TrainingSet

# Ratings whose pairs are counted at once: 4 MB of columns and 12 MB of ranges, so that the columns, which are read once
# for each item of their user, stay in the third cache. ml-25m's shape, 10,000 items: 5.3 s in one piece, 4.1 s so.
SHARD = 1 << 20
MOST_BITS = 24  # of a weight: 2^29 users of the largest one stay below 2^53

Whole = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class WeightedRows:
    """X and W of X^T W X, without a copy of the ratings.

    Attributes:
        indptr: (n_users + 1,) int64, where each user's columns begin.
        columns: (n_ratings,) uint32, ascending within a user.
        weight: (n_users,) int64, the diagonal of W; 0 for a user that is not learned from.
        n_columns: columns of X.
    """

    indptr: Whole
    columns: NDArray[np.uint32]
    weight: Whole
    n_columns: int

    @classmethod
    def of(cls, training_set: TrainingSet, power: float) -> WeightedRows:
        """The rows learned from, each user weighing as `user_weights` says."""
        ratings = training_set.ratings
        weight = np.where(training_set.trained, user_weights(np.diff(ratings.indptr), power), 0)
        columns = ratings.indices.view(np.uint32)  # unsigned, so that compiled loops need not look for negative ones
        return cls(ratings.indptr.astype(np.int64, copy=False), columns, weight, ratings.shape[1])

    @property
    def n_learned(self) -> int:
        """Users that are learned from."""
        return int(np.count_nonzero(self.weight))

    @cached_property
    def by_column(self) -> tuple[Whole, Whole]:
        """(n_columns,) each: users of each column, and the sum of their weights, which is the Gram matrix' diagonal."""
        users, weight = np.zeros(self.n_columns, np.int64), np.zeros(self.n_columns, np.int64)
        _count(self.indptr, self.columns, self.weight, users, weight)
        return users, weight

    @property
    def largest(self) -> int:
        """No sum of the Gram matrix is larger.

        Raises:
            UsageError: it is not exact in float64.
        """
        largest = int(np.max(self.by_column[1], initial=0))
        if largest >= 1 << 53:
            raise UsageError(
                "The users' weights are too large to be summed exactly.",
                expected="sums below 2^53",
                found=f"{largest:,}",
                todo="lower the model's user_power",
            )
        return largest

    def shards(self, ratings: int) -> Iterator[tuple[int, int]]:
        """Consecutive ranges of all users with about as many ratings each."""
        targets = np.arange(ratings, int(self.indptr[-1]), ratings)
        inner = np.searchsorted(self.indptr, targets, side="right") - 1
        yield from pairwise(np.unique(np.concatenate(([0], inner, [len(self.weight)]))).tolist())


def user_weights(ratings: NDArray[np.integer], power: float) -> Whole:
    """(n_users,) int64, about ratings ^ -power in steps of 2^-bits; 1 for all where `power` is 0, 0 without a rating.

    `ratings` counts as the power of two that it reaches: 1, 2, 4, 8, ... Else almost every user who has rated since
    last night would weigh a little less, and all of their pairs would have to be counted again; so few do. The lists
    are as good (ndcg@10 of weighted_edlae by exact and by such weights: ml-1m 0.4462 and 0.4467, ml-100k 0.4457 and
    0.4460, ml-latest-small 0.3601 and 0.3610). At 1,024 ratings a weight has 256 steps (fewer above a power of 1.6,
    where one rating weighs 2^24); no user weighs nothing.

    >>> user_weights(np.array([0, 1, 15, 16, 17, 1024]), 0.5).tolist()
    [0, 8192, 2896, 2048, 2048, 256]
    """
    bits = min(MOST_BITS, 8 + 10 * power) if power else 0.0
    steps = np.array([0, *(max(1, round(2.0 ** (bits - reached * power))) for reached in range(63))])
    return steps[np.frexp(ratings)[1]]  # the exponent of 0 is 0, that of 2^k is k + 1


def upper_gram(rows: WeightedRows, threads: int) -> Triangle:
    """X^T W X: its upper triangle, diagonal included."""
    gram = Triangle.zeros(rows.n_columns, rows.largest)
    add_gram(gram, rows, threads)
    return gram


def add_gram(gram: Triangle, rows: WeightedRows, threads: int, users: tuple[int, int] | None = None) -> None:
    """Add what some users give; sums of parts add up to that of the whole, to the bit.

    Cost: the sum over users of ratings^2 / 2. Beside the sums it takes some 50 MB.

    Args:
        users: the range of them; None adds all.
    """
    for start, stop in rows.shards(SHARD):
        first, last = (start, stop) if users is None else (max(start, users[0]), min(stop, users[1]))
        if first < last:
            add_to_rows(gram, by_row(_ranges_of(rows, first, last), rows.n_columns, gram.kind), threads)


class Ranges(NamedTuple):
    """What to add to the rows of a matrix: each gains `factor` in the columns that stand in a range of a list.

    Attributes:
        row: (n,) uint32.
        begin, end: (n,) uint32, the range in `columns`.
        factor: (n,) int64.
        columns: uint32.
    """

    row: NDArray[np.uint32]
    begin: NDArray[np.uint32]
    end: NDArray[np.uint32]
    factor: Whole
    columns: NDArray[np.uint32]


class RangesByRow(NamedTuple):
    """`Ranges` in the order of their rows; row i's stand at first[i] ... first[i + 1] - 1.

    Attributes:
        factor: (n,) of the type of the sums, which wraps around: what is taken away ends right.
    """

    first: Whole
    begin: NDArray[np.uint32]
    end: NDArray[np.uint32]
    factor: NDArray
    columns: NDArray[np.uint32]


def _ranges_of(rows: WeightedRows, start: int, stop: int) -> Ranges:
    """Row i of the matrix gains the weight of each user of i in the user's columns from i on."""
    edges, weight = rows.indptr[start : stop + 1], rows.weight[start:stop]
    columns, count = rows.columns[edges[0] : edges[-1]], np.diff(edges)
    ends = (edges[1:] - edges[0]).astype(np.uint32)
    ends[weight == 0] = 0  # nothing to walk along: no range begins before its end
    begin = np.arange(len(columns), dtype=np.uint32)
    return Ranges(columns, begin, np.repeat(ends, count), np.repeat(weight, count), columns)


def by_row(ranges: Ranges, n_rows: int, kind: np.dtype) -> RangesByRow:
    """Sort ranges by row, the factors as the type of the sums."""
    first = np.append(0, np.cumsum(np.bincount(ranges.row, minlength=n_rows)))
    begin, end = np.empty((2, len(ranges.row)), np.uint32)
    factor = np.empty(len(ranges.row), kind)
    _sort(ranges, first[:-1].copy(), begin, end, factor)
    return RangesByRow(first, begin, end, factor, ranges.columns)


def add_to_rows(gram: Triangle, ranges: RangesByRow, threads: int) -> None:
    """Add ranges to the rows of the triangle."""
    work = partial(_add_to_rows, ranges, gram.sums, len(gram))
    over_ranges(work, len(gram), threads, pieces_a_thread=PIECES_A_THREAD)


@compiled
def _count(indptr, columns, weight, users, weights):  # type: ignore[no-untyped-def]
    for user in range(len(weight)):
        if weight[user]:
            for place in range(indptr[user], indptr[user + 1]):
                users[columns[place]] += 1
                weights[columns[place]] += weight[user]


@compiled
def _sort(ranges, places, begin, end, factor):  # type: ignore[no-untyped-def]
    for one in range(len(ranges.row)):
        place = places[ranges.row[one]]
        begin[place], end[place], factor[place] = ranges.begin[one], ranges.end[one], ranges.factor[one]
        places[ranges.row[one]] += 1


@compiled
def _add_to_rows(ranges, sums, n, start, stop):  # type: ignore[no-untyped-def]
    for row in range(start, stop):
        begin = row_start(row, n)
        add_to_sums(row, ranges, sums[begin : begin + n])


@compiled
def add_to_sums(row, ranges, sums):  # type: ignore[no-untyped-def]
    """Add a row's ranges to a buffer."""
    for one in range(ranges.first[row], ranges.first[row + 1]):
        gain = ranges.factor[one]
        for place in range(ranges.begin[one], ranges.end[one]):
            sums[ranges.columns[place]] += gain
