"""The four ways to draw a hold-out. Each gives (n_ratings,) bool, True where a rating is held out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from recsys.compute import compiled
from recsys.prepare.draws import Draws, mix

Mask = NDArray[np.bool_]
BINS = 1 << 16  # of a histogram: four of them narrow any int64 down to one value


def random_split(n_ratings: int, test_fraction: float, seed: int) -> Mask:
    """Ratings drawn at random over all users, row for row the split of scikit-learn's `train_test_split`.

    At least one rating stays to learn from. The only split whose memory grows with the ratings, by the permutation
    that is drawn: up to 25 bytes each.
    """
    mask = np.zeros(n_ratings, dtype=bool)
    n_test = min(math.ceil(test_fraction * n_ratings), n_ratings - 1)
    if n_test > 0:
        from sklearn.model_selection import train_test_split  # a second and 60 MB that other splits do not need

        _, test = train_test_split(np.arange(n_ratings), test_size=n_test, random_state=seed)
        mask[test] = True
    return mask


def per_user_split(
    indptr: NDArray[np.int64], item_index: NDArray[np.int32], draws: Draws, first_user: int, test_fraction: float
) -> Mask:
    """The ceil(test_fraction * n) lowest draws of each user's n ratings, but never a user's only rating.

    Rounded up, as scikit-learn does for the whole, and cut so that one rating stays to learn from. What others rate
    changes nothing; of a user's own ratings those with lower draws always go before those with higher ones.

    Args:
        indptr: (m + 1,) where the ratings of each of m users begin.
        item_index: (n,) of the ratings.
        first_user: user_index of the first user.
    """
    mask = np.zeros(len(item_index), dtype=bool)
    _mark_lowest(indptr, item_index, draws.user[first_user:], draws.item, test_fraction, mask)
    return mask


@compiled
def _mark_lowest(indptr, item_index, user_draw, item_draw, fraction, mask):  # type: ignore[no-untyped-def]
    for user in range(len(indptr) - 1):
        start, stop = indptr[user], indptr[user + 1]
        n = stop - start
        # 1e-9: 0.2 * 5 is 1.0000000000000002 in binary for some fractions, and must not be rounded up to 2
        wanted = min(math.ceil(fraction * n - 1e-9), n - 1)
        if wanted < 1:
            continue
        draw = np.empty(n, np.uint64)
        for place in range(n):
            draw[place] = mix(user_draw[user] + item_draw[item_index[start + place]])
        last = np.partition(draw, wanted - 1)[wanted - 1]
        equal = wanted
        for place in range(n):
            equal -= draw[place] < last
        for place in range(n):
            mask[start + place] = draw[place] < last
            if draw[place] == last and equal > 0:  # of equal draws the lower items: that happens once in 2**64
                mask[start + place] = True
                equal -= 1


@compiled
def leave_last_split(indptr, timestamp, row):  # type: ignore[no-untyped-def]
    """Each user's latest rating (the later row among equal times), but never a user's only one.

    Args:
        indptr: (m + 1,) where each user's ratings begin.
        timestamp, row: (n,) of the ratings.
    """
    mask = np.zeros(len(timestamp), np.bool_)
    for user in range(len(indptr) - 1):
        start, stop = indptr[user], indptr[user + 1]
        if stop - start < 2:
            continue
        last = start
        for at in range(start + 1, stop):
            if timestamp[at] > timestamp[last] or (timestamp[at] == timestamp[last] and row[at] > row[last]):
                last = at
        mask[last] = True
    return mask


def time_split(
    pieces: Callable[[], Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]]], n_ratings: int, test_fraction: float
) -> tuple[int, int]:
    """The (timestamp, row) from which on ratings are held out: the latest ceil(test_fraction * n) of all.

    Never all of them. A few passes, of which each holds one piece and a histogram in memory.

    Args:
        pieces: gives all ratings' timestamps and rows, some at a time.
    """
    n_test = min(math.ceil(test_fraction * n_ratings - 1e-9), n_ratings - 1)
    if n_test < 1:
        return np.iinfo(np.int64).max, n_ratings
    time, left = nth_largest(lambda: (timestamp for timestamp, _ in pieces()), n_test)
    row, _ = nth_largest(lambda: (row[timestamp == time] for timestamp, row in pieces()), left)
    return time, row


def nth_largest(pieces: Callable[[], Iterable[NDArray[np.int64]]], n: int) -> tuple[int, int]:
    """The n-th largest of all values, none of them negative; and how many equal ones it takes to make n.

    >>> nth_largest(lambda: [np.array([5, 1, 5]), np.array([9, 5])], 3)
    (5, 2)
    """
    low, high = 0, max((int(np.max(piece)) for piece in pieces() if len(piece)), default=0)
    while low < high:
        width = -(-(high - low + 1) // BINS)
        counts = np.zeros(BINS, np.int64)
        for piece in pieces():
            inside = piece[(piece >= low) & (piece <= high)]
            counts += np.bincount((inside - low) // width, minlength=BINS)
        from_above = np.cumsum(counts[::-1])
        skipped = int(np.searchsorted(from_above, n))  # whole bins above the n-th's
        n -= int(from_above[skipped - 1]) if skipped else 0
        low += (BINS - 1 - skipped) * width
        high = min(low + width - 1, high)
    return int(low), n
