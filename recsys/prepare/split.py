"""The four ways to draw a hold-out. Each returns (n_ratings,) bool, True where it is held out."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from recsys.config import PrepareConfig
from recsys.errors import InputRefused
from recsys.ratings import Ratings

Mask = NDArray[np.bool_]


def hold_out(ratings: Ratings, config: PrepareConfig, seed: int) -> Mask:
    """Draw the hold-out that `config.split` names.

    Raises:
        InputRefused: the split needs timestamps and the input has none.
    """
    if config.split == "random":
        return random_split(len(ratings), config.test_fraction, seed)
    if config.split == "per-user":
        return per_user_split(ratings.user_index, config.test_fraction, seed)
    timestamp = _timestamps(ratings, config.split)
    if config.split == "leave-last":
        return leave_last_split(ratings.user_index, timestamp)
    return time_split(timestamp, config.test_fraction)


def random_split(n_ratings: int, test_fraction: float, seed: int) -> Mask:
    """Ratings drawn at random over all users, row for row the split of scikit-learn's `train_test_split`.

    At least one rating stays to learn from.
    """
    mask = np.zeros(n_ratings, dtype=bool)
    n_test = min(math.ceil(test_fraction * n_ratings), n_ratings - 1)
    if n_test > 0:
        from sklearn.model_selection import train_test_split  # a second and 60 MB that other splits do not need

        _, test = train_test_split(np.arange(n_ratings), test_size=n_test, random_state=seed)
        mask[test] = True
    return mask


def per_user_split(user_index: NDArray[np.int32], test_fraction: float, seed: int) -> Mask:
    """ceil(test_fraction * n) of each user's n ratings at random, but never a user's only rating.

    Rounded up, as scikit-learn does for the whole, and cut so that one rating stays to learn from.
    """
    draw = np.random.default_rng(seed).random(len(user_index))
    place, count = _place_within_user(user_index, draw)
    # 1e-9: 0.2 * 5 is 1.0000000000000002 in binary for some fractions, and must not be rounded up to 2
    wanted = np.ceil(test_fraction * count - 1e-9)
    return place < np.minimum(wanted, count - 1)


def leave_last_split(user_index: NDArray[np.int32], timestamp: NDArray[np.int64]) -> Mask:
    """Each user's latest rating (the later row among equal times), but never a user's only one."""
    place, count = _place_within_user(user_index, timestamp)
    return (place == count - 1) & (count > 1)


def time_split(timestamp: NDArray[np.int64], test_fraction: float) -> Mask:
    """The latest ceil(test_fraction * n) ratings of all (later rows among equal times), never all of them."""
    n = len(timestamp)
    mask = np.zeros(n, dtype=bool)
    n_test = min(math.ceil(test_fraction * n - 1e-9), n - 1)
    mask[np.argsort(timestamp, kind="stable")[n - n_test :]] = True
    return mask


def _place_within_user(user_index: NDArray[np.int32], key: NDArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each rating's 0-based place among its user's ratings by (key, row), and that user's number of ratings."""
    order = np.lexsort((key, user_index))  # stable: equal keys keep the order of the rows
    count = np.bincount(user_index)
    first = np.concatenate(([0], np.cumsum(count)[:-1]))
    place = np.empty(len(user_index), dtype=np.int64)
    place[order] = np.arange(len(user_index)) - np.repeat(first, count)
    return place, count[user_index]


def _timestamps(ratings: Ratings, split: str) -> NDArray[np.int64]:
    if ratings.timestamp is None:
        raise InputRefused(
            f"The split {split!r} orders ratings in time and the input has no timestamps.",
            expected="a timestamp column",
            found="none",
            todo="name it with --columns timestamp=NAME, or choose --split per-user or random",
        )
    return ratings.timestamp
