"""The Gram matrix of binary interactions: in how many users two items occur together, each user with a weight.

Weights are whole numbers, so every sum is one too, and exact in float64 below 2^53: the same to the bit for any order,
any split of the users into shards, and whether it is summed anew or brought up to date (`recsys.models.gram_update`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.compute import compiled, over_ranges
from recsys.errors import UsageError
from recsys.prepare.training_set import TrainingSet

# Ratings whose pairs are counted at once: 6 MB of columns and 30 MB of places, so that the columns, which are read once
# for each item of their user, stay in the third cache. ml-25m's shape, 10,000 items: 5.3 s in one piece, 4.1 s so.
SHARD = 1 << 20
MOST_BITS = 24  # of a weight: 2^29 users of the largest one stay below 2^53

Matrix = NDArray[np.float64]
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
        largest = int(self.by_column[1].max(initial=0))
        if largest >= 1 << 53:
            raise UsageError(
                "The users' weights are too large to be summed exactly.",
                expected="sums below 2^53",
                found=f"{largest:,}",
                todo="lower the model's user_power",
            )
        return largest

    def shards(self, ratings: int) -> Iterator[tuple[int, int]]:
        """Consecutive ranges of users with about as many ratings."""
        targets = np.arange(0, int(self.indptr[-1]), ratings)
        edges = np.unique(np.append(np.searchsorted(self.indptr, targets, side="right") - 1, len(self.weight)))
        yield from zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)


def user_weights(ratings: NDArray[np.integer], power: float) -> Whole:
    """(n_users,) int64, about ratings ^ -power in steps of 2^-bits; 1 for all where `power` is 0, 0 without a rating.

    `ratings` counts as the power of two that it reaches: 1, 2, 4, 8, ... Else almost every user who has rated since
    last night would weigh a little less, and all of their pairs would have to be counted again; so few do. The lists
    are as good (ndcg@10 of weighted_edlae by exact and by such weights: ml-1m 0.4462 and 0.4462, ml-100k 0.4457 and
    0.4460, ml-latest-small 0.3601 and 0.3610). At 1,024 ratings a weight has 256 steps (fewer above a power of 1.6,
    where one rating weighs 2^24); no user weighs nothing.

    >>> user_weights(np.array([0, 1, 15, 16, 17, 1024]), 0.5).tolist()
    [0, 8192, 2896, 2048, 2048, 256]
    """
    bits = min(MOST_BITS, 8 + 10 * power) if power else 0.0
    steps = np.array([0, *(max(1, round(2.0 ** (bits - reached * power))) for reached in range(63))])
    return steps[np.frexp(ratings)[1]]  # the exponent of 0 is 0, that of 2^k is k + 1


def upper_gram(rows: WeightedRows, threads: int) -> Matrix:
    """Upper triangle (diagonal included) of X^T W X, whole numbers; the rest is 0.

    Returns:
        (n_columns, n_columns) float64, C-contiguous.
    """
    gram = np.zeros((rows.n_columns, rows.n_columns))
    add_gram(gram, rows, threads)
    return gram


def add_gram(gram: Matrix, rows: WeightedRows, threads: int, users: tuple[int, int] | None = None) -> None:
    """Add what some users give to the upper triangle; sums of parts add up to that of the whole, to the bit.

    Cost: the sum over users of ratings^2 / 2. Beside the matrix it takes some 50 MB.

    Args:
        users: the range of them; None adds all.
    """
    kind = sum_type(rows.largest)
    for start, stop in rows.shards(SHARD):
        first, last = (start, stop) if users is None else (max(start, users[0]), min(stop, users[1]))
        if first < last:
            added = added_rows(rows, first, last)
            add_pairs(gram, pairs_of(added, rows, kind), threads)


def sum_type(largest: int) -> np.dtype:
    """The smaller unsigned type that holds sums up to `largest`: the row that is summed then stays in a near cache."""
    return np.dtype(np.uint32 if largest < 1 << 32 else np.uint64)


class ChangedRows(NamedTuple):
    """Some users' rows as they were and as they are: what is to be added to a Gram matrix.

    A user's old row is the new one less what was added plus what was removed.

    Attributes:
        begin, end: (n,) int64, the new row's place in `WeightedRows.columns`; none where they are equal.
        old_weight, new_weight: (n,) int64; a user who was not there weighed 0.
        differing: (n + 1,) int64, where each user's differing columns begin.
        columns: (n_differing,) uint32, those added or removed, ascending within a user.
        sign: (n_differing,) int64, 1 where added, -1 where removed.
    """

    begin: Whole
    end: Whole
    old_weight: Whole
    new_weight: Whole
    differing: Whole
    columns: NDArray[np.uint32]
    sign: Whole


class Pairs(NamedTuple):
    """What to add to each row of the matrix, ordered by row.

    An entry says: row i gains `factor` in the columns of `new` from `begin` to the user's end, and `sign` times the
    user's old weight in those of `differing` from `differs` to the user's end. Of a user with weights v then and w now:

        i stays    factor w - v, all that differs: a column that stays gains w - v, one added w - v + v, one removed -v
        i added    factor w, nothing that differs: the new row gains w
        i removed  factor -v, all that differs: what stays loses v, an added column -v + v, one removed v

    Attributes:
        first: (n_columns + 1,) int64, where each row's entries begin.
        user: (n_entries,) int32, place among the changed users.
        begin, differs: (n_entries,) uint64, places in `new` and in `differing`.
        factor: (n_entries,) of the type of the sums, which wraps around: what is taken away ends right.
        end, differing_end: (n_users,) uint64.
        old_weight: (n_users,) of the type of the sums.
        new: the columns of all rows, uint32.
        differing, sign: as `ChangedRows.columns` and `sign`, the latter of the type of the sums.
    """

    first: Whole
    user: NDArray[np.int32]
    begin: NDArray[np.uint64]
    differs: NDArray[np.uint64]
    factor: NDArray
    end: NDArray[np.uint64]
    differing_end: NDArray[np.uint64]
    old_weight: NDArray
    new: NDArray[np.uint32]
    differing: NDArray[np.uint32]
    sign: NDArray


def added_rows(rows: WeightedRows, start: int, stop: int) -> ChangedRows:
    """Rows of users who were not there: they weighed nothing, so that there is nothing to differ from."""
    weight, begin = rows.weight[start:stop], rows.indptr[start:stop]
    end = np.where(weight > 0, rows.indptr[start + 1 : stop + 1], begin)
    differing = np.zeros(len(weight) + 1, np.int64)
    none = np.empty(0, np.int64)
    return ChangedRows(begin, end, np.zeros_like(weight), weight, differing, none.astype(np.uint32), none)


def pairs_of(changed: ChangedRows, rows: WeightedRows, kind: np.dtype) -> Pairs:
    """The pairs of some users by row of the matrix, for sums of a type."""
    first = np.zeros(rows.n_columns + 1, np.int64)
    nothing = np.empty(0, np.uint64)
    _walk(changed, rows.columns, False, first[1:], nothing.view(np.int32), nothing, nothing, nothing.astype(kind))
    np.cumsum(first, out=first)
    user, factor = np.empty(first[-1], np.int32), np.empty(first[-1], kind)
    begin, differs = np.empty((2, first[-1]), np.uint64)
    _walk(changed, rows.columns, True, first[:-1].copy(), user, begin, differs, factor)
    return Pairs(
        first, user, begin, differs, factor,
        changed.end.astype(np.uint64), changed.differing[1:].astype(np.uint64), changed.old_weight.astype(kind),
        rows.columns, changed.columns, changed.sign.astype(kind),
    )  # fmt: skip


def add_pairs(gram: Matrix, pairs: Pairs, threads: int) -> None:
    """Add pairs to the upper triangle."""

    def work(start: int, stop: int) -> None:
        _add_rows(start, stop, pairs, gram)

    # Many small pieces: the first rows hold the most pairs.
    over_ranges(work, len(gram), threads, pieces_a_thread=64)


@compiled
def _count(indptr, columns, weight, users, weights):  # type: ignore[no-untyped-def]
    for user in range(len(weight)):
        if weight[user]:
            for place in range(indptr[user], indptr[user + 1]):
                users[columns[place]] += 1
                weights[columns[place]] += weight[user]


@compiled
def _walk(changed, new, fill, places, user, begin, differs, factor):  # type: ignore[no-untyped-def]
    """Walk along old and new rows together: count the entries of each row of the matrix, or fill in their places."""
    for one in range(len(changed.begin)):
        old_weight, new_weight = changed.old_weight[one], changed.new_weight[one]
        at, stop = changed.begin[one], changed.end[one]
        other, last = changed.differing[one], changed.differing[one + 1]
        while at < stop or other < last:
            removed = at == stop or (other < last and changed.columns[other] < new[at])
            added = not removed and other < last and changed.columns[other] == new[at]
            column = changed.columns[other] if removed else new[at]
            gain = new_weight if added else (0 if removed else new_weight) - old_weight
            counts = last if added else other
            if gain != 0 or counts < last:
                if fill:
                    place = places[column]
                    user[place], begin[place], differs[place], factor[place] = one, at, counts, gain
                places[column] += 1
            at += not removed
            other += removed or added


@compiled
def _add_rows(start, stop, pairs, gram):  # type: ignore[no-untyped-def]
    sums = np.empty(len(gram), pairs.factor.dtype)
    for row in range(start, stop):
        add_row(row, pairs, gram[row], sums)


@compiled
def add_row(row, pairs, values, sums):  # type: ignore[no-untyped-def]
    """Add a row's pairs to its values, in a buffer of whole numbers."""
    if pairs.first[row] == pairs.first[row + 1]:
        return
    from_diagonal, its_sums = values[row:], sums[row:]
    for place in range(len(its_sums)):
        its_sums[place] = np.int64(from_diagonal[place])
    for entry in range(pairs.first[row], pairs.first[row + 1]):
        user, gain = pairs.user[entry], pairs.factor[entry]
        for place in range(pairs.begin[entry], pairs.end[user]):
            sums[pairs.new[place]] += gain
        weight = pairs.old_weight[user]
        for place in range(pairs.differs[entry], pairs.differing_end[user]):
            sums[pairs.differing[place]] += pairs.sign[place] * weight
    for place in range(len(its_sums)):
        from_diagonal[place] = its_sums[place]
