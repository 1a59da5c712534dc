"""The checked blocks as one: dense indices, repeats dropped, pairs of refused rows that still count as seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.ratings import Ratings
from recsys.read.check import Part
from recsys.read.ids import IdCount
from recsys.tables import QUARANTINE


class Gathered:
    """What the blocks gave so far. `ratings` empties it, so that each row is held once: 20 bytes."""

    def __init__(self, known_items: pa.Array | None = None) -> None:
        self._known_items = [] if known_items is None else [known_items]
        self.rows = self.refused = 0
        self.counts = (IdCount(), IdCount())
        self._user_ids: list[pa.Array] = []
        self._item_ids: list[pa.Array] = []
        self._users: list[NDArray[np.int32]] = []
        self._items: list[NDArray[np.int32]] = []
        self._rating: list[NDArray[np.float32]] = []
        self._timestamp: list[NDArray[np.int64]] = []
        self._seen_users: list[pa.Array] = []
        self._seen_items: list[pa.Array] = []
        self._quarantine: list[pa.Table] = []

    @property
    def valid(self) -> int:
        """Rows that are not refused."""
        return self.rows - self.refused

    @property
    def quarantine(self) -> pa.Table:
        """The refused rows in the order of the input."""
        return pa.concat_tables([QUARANTINE.empty_table(), *self._quarantine]).combine_chunks()

    def add(self, part: Part) -> None:
        """Take the next block."""
        self.rows += part.rows
        self.refused += len(part.quarantine)
        self.counts = (self.counts[0] + part.counts[0], self.counts[1] + part.counts[1])
        self._user_ids.append(part.user_ids)
        self._item_ids.append(part.item_ids)
        self._users.append(part.user_code)
        self._items.append(part.item_code)
        self._rating.append(part.rating)
        if part.timestamp is not None:
            self._timestamp.append(part.timestamp)
        self._seen_users.append(part.seen_users)
        self._seen_items.append(part.seen_items)
        self._quarantine.append(part.quarantine)

    def ratings(self) -> Ratings:
        """The result; at least one row must be valid."""
        user_ids, user_maps = unified(self._user_ids)
        item_ids, item_maps = unified(self._known_items + self._item_ids)
        users, items = _indexed(self._users, user_maps), _indexed(self._items, item_maps)
        rating = _joined(self._rating)
        timestamp = _joined(self._timestamp) if self._timestamp else None
        keys = _keys(users, items, len(item_ids))
        keys.sort()
        seen_users, seen_items = self._seen(user_ids, item_ids, keys)
        kept = _kept(users, items, timestamp, keys, len(item_ids))
        repeated = len(rating)
        if kept is not None:
            users, items, rating = users[kept], items[kept], rating[kept]
            timestamp = None if timestamp is None else timestamp[kept]
        return Ratings(
            user_ids, item_ids, users, items, rating, timestamp, seen_users, seen_items,
            self.quarantine, self.rows, repeated - len(rating),
        )  # fmt: skip

    def _seen(
        self, user_ids: pa.Array, item_ids: pa.Array, keys: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Pairs of refused rows, by (user, item), whose ids are both known and which have no valid rating."""
        users, items = _found(self._seen_users, user_ids), _found(self._seen_items, item_ids)
        known = (users >= 0) & (items >= 0)
        seen = np.unique(_keys(users[known], items[known], len(item_ids)))
        at = np.minimum(np.searchsorted(keys, seen), len(keys) - 1)
        seen = seen[keys[at] != seen]
        return (seen // len(item_ids)).astype(np.int32), (seen % len(item_ids)).astype(np.int32)


def unified(lists: list[pa.Array]) -> tuple[pa.Array, list[NDArray[np.int32]]]:
    """All ids of the lists, ascending and distinct (strings by UTF-8 bytes), and of each list the positions in them."""
    encoded = pa.chunked_array(lists).dictionary_encode()
    ids = encoded.chunk(0).dictionary  # all chunks share it
    order = pc.sort_indices(ids)
    position = np.empty(len(ids), np.int32)
    position[order.to_numpy()] = np.arange(len(ids), dtype=np.int32)
    positions = position[np.concatenate([chunk.indices.to_numpy() for chunk in encoded.chunks])]
    return ids.take(order), np.split(positions, np.cumsum([len(each) for each in lists])[:-1])


def _indexed(codes: list[NDArray[np.int32]], maps: list[NDArray[np.int32]]) -> NDArray[np.int32]:
    """The codes of all blocks as indices; takes them out of `codes`."""
    index = np.empty(sum(map(len, codes)), np.int32)
    end = len(index)
    while codes:
        block = maps.pop()[codes.pop()]
        index[end - len(block) : end] = block
        end -= len(block)
    return index


def _joined(blocks: list[NDArray[Any]]) -> NDArray[Any]:
    """The blocks as one array; takes them out of `blocks`."""
    joined = np.concatenate(blocks)
    blocks.clear()
    return joined


def _keys(users: NDArray[np.int32], items: NDArray[np.int32], n_items: int) -> NDArray[np.int64]:
    """(n,) one number a (user, item): below 2**62, as both indices are below 2**31."""
    keys = users.astype(np.int64)
    keys *= n_items
    keys += items
    return keys


def _kept(
    users: NDArray[np.int32],
    items: NDArray[np.int32],
    timestamp: NDArray[np.int64] | None,
    keys: NDArray[np.int64],
    n_items: int,
) -> NDArray[np.bool_] | None:
    """(n,) False for ratings that a later one replaces; None where no pair repeats.

    Later is (timestamp, place in the input) greater, so that the choice is total. Only rows of repeated pairs are
    sorted by it.

    Args:
        keys: (n,) the rows' pairs as `_keys` has them, ascending.
    """
    twice = np.unique(keys[1:][keys[1:] == keys[:-1]])
    if not len(twice):
        return None
    row_keys = _keys(users, items, n_items)
    rows = np.flatnonzero(twice[np.minimum(np.searchsorted(twice, row_keys), len(twice) - 1)] == row_keys)
    times = np.zeros(len(rows), np.int64) if timestamp is None else timestamp[rows]
    order = np.lexsort((rows, times, row_keys[rows]))
    last = np.append(np.diff(row_keys[rows][order]) != 0, True)
    kept = np.ones(len(users), bool)
    kept[rows[order[~last]]] = False
    return kept


def _found(ids: list[pa.Array], known: pa.Array) -> NDArray[np.int32]:
    """(n,) position of each id among the known ones, -1 where it is not."""
    found = pc.index_in(pa.chunked_array(ids, known.type), value_set=known)
    position: NDArray[np.int32] = pc.fill_null(found, -1).to_numpy().astype(np.int32)
    return position
