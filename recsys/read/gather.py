"""The checked blocks as one input: ids under one map, pairs of refused rows that still count as seen."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.read.check import LATEST_SECONDS, Part
from recsys.read.ids import IdCount
from recsys.read.numbering import Numbering
from recsys.read.pieces import Keep, in_memory
from recsys.read.stream import Block, Stream, pair_keys, pairs_of
from recsys.tables import QUARANTINE


class Gathered:
    """What the blocks gave so far: their rows lie where `keep` says, distinct ids and refused rows in memory.

    Attributes:
        rows, refused: rows so far, and those of them that are refused.
        late: timestamps that look like milliseconds.
        later: rows left out because of their time; not among `rows`.
        counts: of the user ids and of the item ids.
    """

    def __init__(self, keep: Keep = in_memory, known_items: pa.Array | None = None) -> None:
        self.rows = self.refused = self.late = self.later = 0
        self.counts = (IdCount(), IdCount())
        self._users, self._items = Numbering(keep("user_numbers")), Numbering(keep("item_numbers"), known_items)
        self._user_codes, self._item_codes = keep("user_codes"), keep("item_codes")
        self._user_rows, self._rating, self._timestamp = keep("user_rows"), keep("rating"), keep("timestamp")
        self._sizes: list[int] = []
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
        self.later += part.later
        self.refused += len(part.quarantine)
        self.counts = (self.counts[0] + part.counts[0], self.counts[1] + part.counts[1])
        self._users.add(part.user_ids)
        self._items.add(part.item_ids)
        self._sizes.append(len(part.rating))
        self._user_rows.append(part.user_rows)
        self._user_codes.append(part.user_code)
        self._item_codes.append(part.item_code)
        self._rating.append(part.rating)
        if part.timestamp is not None:
            self._timestamp.append(part.timestamp)
            self.late += int(np.count_nonzero(part.timestamp > LATEST_SECONDS))
        self._seen_users.append(part.seen_users)
        self._seen_items.append(part.seen_items)
        self._quarantine.append(part.quarantine)

    def stream(self) -> Stream:
        """The result; at least one row must be valid."""
        user_ids, user_at = self._users.ascending()
        item_ids, item_at = self._items.ascending()
        user_rows = np.zeros(len(user_ids), np.int64)
        for block in range(len(self._sizes)):
            np.add.at(user_rows, user_at[self._users.of_block(block)], self._user_rows[block])
        blocks = [partial(self._block, block, user_at, item_at) for block in range(len(self._sizes))]
        return Stream(
            user_ids, item_ids, blocks, self._sizes, user_rows, len(self._timestamp) > 0,
            *self._seen(user_ids, item_ids), self.quarantine, self.rows,
        )  # fmt: skip

    def _block(self, block: int, user_at: NDArray[np.int32], item_at: NDArray[np.int32]) -> Block:
        """The rows of a block under the map of all.

        Args:
            user_at, item_at: position of each number among the ascending ids.
        """
        return Block(
            user_at[self._users.of_block(block)][self._user_codes[block]],
            item_at[self._items.of_block(block)][self._item_codes[block]],
            self._rating[block],
            self._timestamp[block] if len(self._timestamp) else None,
        )

    def _seen(self, user_ids: pa.Array, item_ids: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The distinct pairs of refused rows whose ids are both known, by (user, item)."""
        users, items = _found(self._seen_users, user_ids), _found(self._seen_items, item_ids)
        known = (users >= 0) & (items >= 0)
        return pairs_of(np.unique(pair_keys(users[known], items[known], len(item_ids))), len(item_ids))


def _found(ids: list[pa.Array], known: pa.Array) -> NDArray[np.int32]:
    """(n,) position of each id among the known ones, -1 where it is not."""
    found = pc.index_in(pa.chunked_array(ids, known.type), value_set=known)
    position: NDArray[np.int32] = pc.fill_null(found, -1).to_numpy().astype(np.int32)
    return position
