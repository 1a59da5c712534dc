"""Valid ratings in blocks, as many as there may be; and all of them in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.ratings import Ratings
from recsys.read.repeats import by_pair, latest


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive valid rows, arrays as in `Ratings`."""

    user_index: NDArray[np.int32]
    item_index: NDArray[np.int32]
    rating: NDArray[np.float32]
    timestamp: NDArray[np.int64] | None


@dataclass(frozen=True, eq=False)
class Stream:
    """Valid ratings in the order of the input; a repeated pair stands there as often as in the input.

    Attributes:
        user_ids, item_ids: as in `Ratings`.
        blocks: each loads its rows when it is called, in any thread and as often as one likes.
        sizes: rows of each block.
        user_rows: (n_users,) int64, rows of each user.
        timed: whether the rows have timestamps.
        seen_user_index, seen_item_index: (n_seen,) int32, the distinct pairs of refused rows whose ids are both
            known, by (user, item); such a pair may be rated in another row.
        quarantine: the refused rows, by the schema `tables.QUARANTINE`.
        rows_read: rows of the input, refused ones included, blank lines not.
        repeated: rows that were dropped before, as a later rating of the same pair stands.
    """

    user_ids: pa.Array
    item_ids: pa.Array
    blocks: Sequence[Callable[[], Block]]
    sizes: Sequence[int]
    user_rows: NDArray[np.int64]
    timed: bool
    seen_user_index: NDArray[np.int32]
    seen_item_index: NDArray[np.int32]
    quarantine: pa.Table
    rows_read: int
    repeated: int = 0

    def __len__(self) -> int:
        """Valid rows."""
        return sum(self.sizes)

    @classmethod
    def of(cls, ratings: Ratings) -> Stream:
        """Ratings in memory as a stream of one block."""
        block = Block(ratings.user_index, ratings.item_index, ratings.rating, ratings.timestamp)
        seen = np.unique(pair_keys(ratings.seen_user_index, ratings.seen_item_index, ratings.n_items))
        return cls(
            ratings.user_ids, ratings.item_ids, [lambda: block], [len(ratings)],
            np.bincount(ratings.user_index, minlength=ratings.n_users), ratings.timestamp is not None,
            *pairs_of(seen, ratings.n_items), ratings.quarantine, ratings.rows_read, ratings.repeated,
        )  # fmt: skip

    def collect(self) -> Ratings:
        """All in memory, a pair's latest rating alone."""
        blocks = [load() for load in self.blocks]
        user, item = (_joined(blocks, name, np.int32) for name in ("user_index", "item_index"))
        timestamp = _joined(blocks, "timestamp", np.int64) if self.timed else None
        rating = _joined(blocks, "rating", np.float32)
        n_users, n_items = len(self.user_ids), len(self.item_ids)
        kept, repeated = latest(by_pair(user, item, 0, n_users, n_items), user, item, _times(timestamp), len(user))
        seen = unrated(
            pair_keys(self.seen_user_index, self.seen_item_index, n_items), pair_keys(user[kept], item[kept], n_items)
        )
        if repeated:
            kept.sort()
            user, item, rating = user[kept], item[kept], rating[kept]
            timestamp = None if timestamp is None else timestamp[kept]
        return Ratings(
            self.user_ids, self.item_ids, user, item, rating, timestamp, *pairs_of(seen, n_items),
            self.quarantine, self.rows_read, self.repeated + repeated,
        )  # fmt: skip


def pair_keys(user_index: NDArray[np.int32], item_index: NDArray[np.int32], n_items: int) -> NDArray[np.int64]:
    """(n,) one number a (user, item), in their order: below 2**62, as both indices are below 2**31."""
    keys = user_index.astype(np.int64)
    keys *= n_items
    keys += item_index
    return keys


def pairs_of(keys: NDArray[np.int64], n_items: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The user_index and item_index of each key."""
    return (keys // n_items).astype(np.int32), (keys % n_items).astype(np.int32)


def unrated(seen: NDArray[np.int64], rated: NDArray[np.int64]) -> NDArray[np.int64]:
    """The keys of `seen` that are not among `rated`, both ascending."""
    at = np.minimum(np.searchsorted(rated, seen), len(rated) - 1)
    return seen[rated[at] != seen] if len(rated) else seen


def _times(timestamp: NDArray[np.int64] | None) -> NDArray[np.int64]:
    return np.empty(0, np.int64) if timestamp is None else timestamp


def _joined(blocks: list[Block], name: str, kind: type) -> NDArray:
    return np.concatenate([np.empty(0, kind), *(getattr(block, name) for block in blocks)])
