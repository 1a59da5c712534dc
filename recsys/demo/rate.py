"""The stars and the times of ratings."""

from __future__ import annotations

import calendar

import numpy as np
from numpy.typing import NDArray

from recsys.demo.bits import BELL_STD, Bits
from recsys.demo.catalogue import STAR, TRAITS, Catalogue
from recsys.demo.users import Users, ranks

BASE = 3 * STAR + STAR // 8  # of a rating before tastes: who rates tends to like the item, which adds to it
MATCH_WEIGHT = 5  # of a match of taste and traits, in units of 2^-10
EPOCH = calendar.timegm((1996, 1, 1, 0, 0, 0))
FIRST_SESSIONS = calendar.timegm((2023, 1, 1, 0, 0, 0)) - EPOCH  # seconds within which users begin
END = calendar.timegm((2025, 1, 1, 0, 0, 0))
MOST_APART = 60 * 86_400  # seconds between two sessions of a user


def half_stars(
    bits: Bits, users: Users, catalogue: Catalogue, owner: NDArray[np.intp], item: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Ratings in half stars, (n,) int64 in 1 ... 10, of the users at `owner` and the items at `item`, both (n,).

    Item quality + user offset + match of tastes + noise, rounded to the nearest half star.
    """
    match = np.zeros(len(item), np.int64)
    for trait in range(TRAITS):
        match += users.taste[:, trait].take(owner) * catalogue.traits[:, trait].take(item)
    stars = BASE + catalogue.quality.take(item) + users.offset.take(owner) + (match * MATCH_WEIGHT >> 10)
    noise = bits.bell(len(item)) * (4 * STAR) // (5 * BELL_STD)  # a spread of 0.8 stars
    halves: NDArray[np.int64] = (stars + noise + STAR // 4) // (STAR // 2)
    bounded: NDArray[np.int64] = np.clip(halves, 1, 10)
    return bounded


def timestamps(bits: Bits, users: Users) -> NDArray[np.int64]:
    """Seconds since 1970 UTC of all ratings of `users`, (sum of counts,) int64, increasing within a user.

    A user rates in sessions of 20 to 99 ratings, up to a minute apart. Whose taste is for newer items begins later.
    """
    n_users = len(users.counts)
    length = 20 + bits.below(80, n_users)
    begin = _begin(bits, users)
    # Sessions are as far apart as the time left allows; a session takes less than half of that, whatever its length.
    apart = np.minimum((END - begin) // (users.counts // length + 1), MOST_APART)
    pace: NDArray[np.int64] = np.clip(apart // (2 * length), 1, 60)
    owner = np.repeat(np.arange(n_users), users.counts)
    session, within = np.divmod(ranks(users.counts), length[owner])
    opens = within == 0
    delay = bits.below(apart[owner[opens]] // 2, int(opens.sum()))[np.cumsum(opens) - 1]
    jitter = bits.below(pace[owner], len(owner))
    elapsed: NDArray[np.int64] = session * apart[owner] + delay + within * pace[owner] + jitter
    return begin[owner] + elapsed


def _begin(bits: Bits, users: Users) -> NDArray[np.int64]:
    """When each user comes, (n_users,) int64: three parts chance, one part the era of the user's taste."""
    chance = bits.below(2**20, len(users.counts))
    era: NDArray[np.int64] = np.clip(users.taste[:, 0] * 2**18 // BELL_STD + 2**19, 0, 2**20)
    return EPOCH + ((3 * chance + era) * FIRST_SESSIONS >> 22)
