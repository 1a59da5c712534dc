"""The ratings beside a hold-out, as an input of their own."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.identifiers import UNKNOWN
from recsys.prepare.prepared import Prepared
from recsys.prepare.shards import Shard
from recsys.read.stream import Block, Stream


def beside_holdout(prepared: Prepared) -> Stream:
    """The ratings of a prepared folder that are not held out, by (user, item), as if the input had held no others.

    Users and items without any rating left are gone, and so are pairs of refused rows that name one of them.
    """
    ids = prepared.ids
    user_rows, item_rows = np.zeros(ids.n_users, np.int64), np.zeros(ids.n_items, np.int64)
    sizes = []
    for shard in prepared.shards:
        user, item, _ = _learned(prepared, shard)
        user_rows[shard.start : shard.stop] = np.bincount(user - shard.start, minlength=len(shard))
        item_rows += np.bincount(item, minlength=ids.n_items)
        sizes.append(len(user))
    user_at, item_at = _renumbered(user_rows), _renumbered(item_rows)
    refused = np.repeat(np.arange(ids.n_users), np.diff(prepared.array("seen_indptr")))
    seen_user, seen_item = user_at[refused], item_at[prepared.array("seen_item_index")]
    known = (seen_user != UNKNOWN) & (seen_item != UNKNOWN)
    counts = prepared.counts
    return Stream(
        ids.user_ids.filter(pa.array(user_rows > 0)), ids.item_ids.filter(pa.array(item_rows > 0)),
        [partial(_block, prepared, shard, user_at, item_at) for shard in prepared.shards], sizes,
        user_rows[user_rows > 0], prepared.timed, seen_user[known], seen_item[known],
        prepared.quarantine(), counts.rows_read, counts.repeated,
    )  # fmt: skip


def _learned(prepared: Prepared, shard: Shard) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
    """user_index and item_index of a shard's ratings to learn from, and which of its ratings those are."""
    indptr = prepared.array("indptr", shard.start, shard.stop + 1)
    keep = ~prepared.array("held_out", indptr[0], indptr[-1])
    user = np.repeat(np.arange(shard.start, shard.stop, dtype=np.int32), np.diff(indptr))
    return user[keep], prepared.array("item_index", indptr[0], indptr[-1])[keep], keep


def _block(prepared: Prepared, shard: Shard, user_at: NDArray[np.int32], item_at: NDArray[np.int32]) -> Block:
    user, item, keep = _learned(prepared, shard)
    start, stop = prepared.array("indptr")[[shard.start, shard.stop]]
    timestamp = prepared.array("timestamp", start, stop)[keep] if prepared.timed else None
    return Block(user_at[user], item_at[item], prepared.array("rating", start, stop)[keep], timestamp)


def _renumbered(rows: NDArray[np.int64]) -> NDArray[np.int32]:
    """The new index of each old one, in the same order; `UNKNOWN` where no row is left."""
    used = rows > 0
    return np.where(used, np.cumsum(used) - 1, UNKNOWN).astype(np.int32)
