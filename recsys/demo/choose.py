"""Which items each user rates, in which order: draws without replacement from the user's circles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recsys.demo.bits import Bits
from recsys.demo.catalogue import Circles
from recsys.demo.users import SLOTS, Users, ranks

ORDER_BITS = 24  # draws of a block; with 18 bits for the user and 22 for the item, a key fills 64
ITEM_BITS = 22
DENSE = 8  # who rates more than an eighth of the items draws many in vain
ROUNDS = 3  # of draws before a user is dense too
RACE_CELLS = 2**18  # users x items raced at once: 2 MiB an array of doubles


class Picks(NamedTuple):
    """Items without stars, by user, those of a user in the order of rating: (n,) each.

    `owner` is the user's position in the block, `item` the item's in the catalogue.
    """

    owner: NDArray[np.intp]
    item: NDArray[np.int64]


def choose_items(bits: Bits, users: Users, circles: Circles) -> NDArray[np.int64]:
    """Items of all ratings of `users`, (sum of counts,) int64: user after user, in the order of rating.

    The next item is drawn by the user's probabilities among the items not yet rated, whether users draw or race.
    """
    chosen = np.empty(int(users.counts.sum()), np.int64)
    start = np.cumsum(users.counts) - users.counts
    for picks in _all_picks(bits, users, circles):
        rank = ranks(np.bincount(picks.owner))
        kept = rank < users.counts[picks.owner]
        chosen[(start[picks.owner] + rank)[kept]] = picks.item[kept]
    return chosen


def _all_picks(bits: Bits, users: Users, circles: Circles) -> Iterator[Picks]:
    """Enough items of each user: sparse users draw, round after round; dense ones and those left short race."""
    n_items = circles.share.shape[1]
    short = users.counts * DENSE <= n_items
    picks = Picks(np.empty(0, np.intp), np.empty(0, np.int64))
    for attempt in range(ROUNDS):
        picks = _draw(bits, users, circles, np.flatnonzero(short), attempt, picks)
        short &= np.bincount(picks.owner, minlength=len(short)) < users.counts
        left = short[picks.owner]
        yield Picks(picks.owner[~left], picks.item[~left])
        picks = Picks(picks.owner[left], picks.item[left])
    dense = np.flatnonzero(short | (users.counts * DENSE > n_items))
    size = max(1, RACE_CELLS // n_items)
    for begin in range(0, len(dense), size):
        yield _race(bits, users, circles, dense[begin : begin + size])


def _draw(bits: Bits, users: Users, circles: Circles, some: NDArray[np.intp], attempt: int, before: Picks) -> Picks:
    """`before` and draws with replacement of the users at `some` after them; first occurrences only."""
    wanted = users.counts[some]
    owner = np.repeat(some, (wanted + wanted // 2 + np.minimum(wanted, 8) - 1) << attempt)
    raw = bits.raw(len(owner))
    slot = owner * SLOTS + (raw & np.uint64(SLOTS - 1)).astype(np.intp)
    item = circles.draws.draw(users.circles.ravel().take(slot), raw)
    owner, item = np.concatenate((before.owner, owner)), np.concatenate((before.item, item))
    order = np.argsort(owner, kind="stable")  # two ascending runs: merged in one pass
    owner, item = owner[order], item[order]
    first = _first_occurrences(owner, item)
    return Picks(owner[first], item[first])


def _first_occurrences(owner: NDArray[np.intp], item: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(n_draws,) bool: the draw is its owner's first of that item.

    Owner, item and order share one integer, whose sort is several times as fast as a stable sort of three columns.
    """
    order = np.arange(len(owner), dtype=np.uint64)
    key = (owner.astype(np.uint64) << np.uint64(ITEM_BITS) | item.astype(np.uint64)) << np.uint64(ORDER_BITS) | order
    key.sort()
    pair = key >> np.uint64(ORDER_BITS)
    fresh = np.ones(len(key), np.bool_)
    fresh[1:] = pair[1:] != pair[:-1]
    first = np.zeros(len(owner), np.bool_)
    first[(key[fresh] & np.uint64((1 << ORDER_BITS) - 1)).astype(np.intp)] = True
    return first


def _race(bits: Bits, users: Users, circles: Circles, some: NDArray[np.intp]) -> Picks:
    """Let all items race for the users at `some`: the order of arrival is an order of draws without replacement.

    Arrival -log(u) / probability, exponential (Gumbel top-k without the outer logarithm). The last bit of
    a logarithm may differ between machines; two arrivals of 53 random bits that close do not occur.
    """
    n_items = circles.share.shape[1]
    share = np.zeros((len(some), n_items))
    for slot in range(SLOTS):
        share += circles.share[users.circles[some, slot]]
    uniform = ((bits.raw(share.size) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    order = np.argsort(-np.log(uniform).reshape(share.shape) / share, axis=1, kind="stable")
    turn, rank = np.nonzero(np.arange(n_items) < users.counts[some][:, None])
    return Picks(some[turn], order[turn, rank])
