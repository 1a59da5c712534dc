"""A given hold-out: ratings that are only ever predicted, joined with the ratings to learn from under one id map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.errors import InputRefused
from recsys.identifiers import IdMap
from recsys.read.stream import Block, Stream, pair_keys, pairs_of


@dataclass(frozen=True, eq=False)
class Joined:
    """Ratings of both files, those of a given hold-out last; a pair that stands in both is the hold-out's.

    Attributes:
        own: rows before the hold-out's, which begin with a block of their own.
        given: whether there is a given hold-out.
        served: (n_users,) bool, users of the ratings to learn from: the hold-out alone makes nobody a user.
        timed: whether all rows have timestamps; where only some have, a time of 0 stands for those of the others.
    """

    stream: Stream
    own: int
    given: bool
    served: NDArray[np.bool_]
    timed: bool

    @property
    def ids(self) -> IdMap:
        """The users and items of both."""
        return IdMap(self.stream.user_ids, self.stream.item_ids)


def join_holdout(own: Stream, test: Stream | None) -> Joined:
    """Join ratings with a given hold-out, where there is one.

    Raises:
        InputRefused: the ids are of different types.
    """
    if test is None:
        return Joined(own, len(own), False, own.user_rows > 0, own.timed)
    ids = IdMap(_union(own.user_ids, test.user_ids), _union(own.item_ids, test.item_ids))
    moved, held = _Moved(own, ids), _Moved(test, ids)
    timed = own.timed or test.timed
    stream = Stream(
        ids.user_ids,
        ids.item_ids,
        [partial(each.block, load, timed) for each in (moved, held) for load in each.stream.blocks],
        [*own.sizes, *test.sizes],
        moved.user_rows + held.user_rows,
        timed,
        *pairs_of(np.union1d(moved.seen, held.seen), ids.n_items),
        pa.concat_tables([own.quarantine, test.quarantine]),
        own.rows_read,
        own.repeated,
    )
    return Joined(stream, len(own), True, moved.user_rows > 0, own.timed and test.timed)


class _Moved:
    """A stream under another id map."""

    def __init__(self, stream: Stream, ids: IdMap) -> None:
        self.stream = stream
        self._user, self._item = ids.user_index(stream.user_ids), ids.item_index(stream.item_ids)
        self.user_rows = np.zeros(ids.n_users, np.int64)
        self.user_rows[self._user] = stream.user_rows
        self.seen = pair_keys(self._user[stream.seen_user_index], self._item[stream.seen_item_index], ids.n_items)

    def block(self, load: Callable[[], Block], timed: bool) -> Block:
        block = load()
        timestamp = np.zeros(len(block.rating), np.int64) if timed and block.timestamp is None else block.timestamp
        return Block(self._user[block.user_index], self._item[block.item_index], block.rating, timestamp)


def _union(left: pa.Array, right: pa.Array) -> pa.Array:
    if left.type != right.type:
        raise InputRefused(
            "The hold-out's ids are of another type than the ratings'.",
            expected=str(left.type),
            found=str(right.type),
            todo="write both files with the same kind of ids, or set --set input.id_type=string",
        )
    ids = pa.concat_arrays([left, right]).unique()
    return ids.take(pc.sort_indices(ids))
