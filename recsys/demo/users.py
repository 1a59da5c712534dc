"""The users: how many ratings each gives, in which circles they move, what they like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recsys.config import DemoConfig
from recsys.demo.bits import BELL_STD, Bits
from recsys.demo.catalogue import STAR, TRAITS, Circles
from recsys.errors import UsageError

ACTIVITY_SIGMA = 1.2  # of log-normal activity: the mean is exp(1.2^2 / 2) = 2.05 medians; ml-25m: 154 of 71
HALVINGS = 80  # steps of the bisection for the scale of activity; 64 exhaust a double
SLOTS = 16  # a user's circles: twelve slots are of the first, two of the second, one each of the third and fourth
SLOT_CIRCLE = np.repeat(np.arange(4), (12, 2, 1, 1))


@dataclass(frozen=True)
class Users:
    """Some consecutive users.

    Attributes:
        counts: (n_users,) int64, ratings each gives.
        circles: (n_users, SLOTS) int64, the circle a rating comes of, each slot equally often.
        taste: (n_users, TRAITS) int64 in units of 1 / BELL_STD.
        offset: (n_users,) int64, units of 1 / STAR stars above the average user.
    """

    counts: NDArray[np.int64]
    circles: NDArray[np.int64]
    taste: NDArray[np.int64]
    offset: NDArray[np.int64]


MOST_ITEMS = 2**22  # an item fits into 22 bits of a sort key, and the circles' tables into 400 MiB


def check_size(config: DemoConfig) -> None:
    """Refuse a number of ratings that these users and items cannot have.

    Raises:
        UsageError: there are fewer ratings than users, more than pairs of a user and an item, or too many items.
    """
    if config.items > MOST_ITEMS:
        raise UsageError(
            "demo.items is too large", expected=f"at most {MOST_ITEMS:,}", found=f"{config.items:,}", todo="lower it"
        )
    most = config.users * config.items
    if not config.users <= config.ratings <= most:
        raise UsageError(
            "demo.ratings does not fit demo.users and demo.items",
            expected=f"{config.users:,} (one a user) to {most:,} (users x items) ratings",
            found=f"{config.ratings:,} ratings, {config.users:,} users, {config.items:,} items",
            todo="set demo.ratings between the two, or change demo.users or demo.items",
        )


def activity(config: DemoConfig) -> NDArray[np.int64]:
    """Ratings of each user, (users,) int64: log-normal, at least 1, at most half of the items, `ratings` in all.

    Where the mean is so high that half of the items would flatten the tail, the cap is twice the mean.
    """
    exponent = Bits(config.seed, 1).bell(config.users) * (ACTIVITY_SIGMA / BELL_STD)
    zeal = np.rint(np.exp(exponent) * 2**20)  # the last bit of an exponential differs between machines
    cap = min(config.items, max(config.items // 2, -(-2 * config.ratings // config.users)))

    def counts(scale: float) -> NDArray[np.int64]:
        bounded: NDArray[np.float64] = np.clip(zeal * scale, 1, cap)
        return bounded.astype(np.int64)

    below, above = 0.0, cap / float(zeal.min()) + 1.0  # from one rating each to the cap each
    for _ in range(HALVINGS):
        middle = (below + above) / 2
        below, above = (middle, above) if counts(middle).sum() <= config.ratings else (below, middle)
    return _fill(counts(below), counts(above), config.ratings)


def _fill(low: NDArray[np.int64], high: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Counts between `low` and `high` that sum to `total`: the first users get what is left."""
    room = high - low
    left = total - int(low.sum())
    share: NDArray[np.int64] = np.clip(left - (np.cumsum(room) - room), 0, room)
    return low + share


def ranks(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 ... count - 1 of each of `counts`, one after the other, (sum of counts,) int64.

    >>> ranks(np.array([2, 0, 3])).tolist()
    [0, 1, 0, 1, 2]
    """
    return np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)


def invent_users(bits: Bits, counts: NDArray[np.int64], circles: Circles) -> Users:
    """Users who give `counts` ratings."""
    n_users = len(counts)
    joined = bits.below(len(circles.taste), 4 * n_users).reshape(n_users, 4)[:, SLOT_CIRCLE]
    taste = circles.taste[joined].sum(axis=1) // SLOTS + bits.bell(n_users, TRAITS) // 2
    offset = bits.bell(n_users) * (4 * STAR) // (10 * BELL_STD)  # a spread of 0.4 stars
    return Users(counts, joined, taste, offset)
