"""Ratings in the order of the input, as many as there may be, brought into the order of (user_index, item_index).

The rows are dealt into buckets of consecutive users, in files, and each bucket is then sorted in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.compute import compiled, in_order
from recsys.prepare.given_holdout import Joined
from recsys.prepare.shards import Shard, cut
from recsys.read.repeats import by_pair, latest
from recsys.read.stream import Block, pair_keys, pairs_of, unrated

# Bytes a row of a bucket in memory: 28 as dealt (two indices, rating, timestamp, row), 16 for two orders of int64,
# 36 sorted, with the draw and the mask of its hold-out.
ROW_BYTES = 80
MOST_BUCKETS = 4_096  # each takes a few writes a block: 4,096 buckets of 1 MiB each still hold a billion ratings
COLUMNS = {"user": np.int32, "item": np.int32, "rating": np.float32, "timestamp": np.int64, "row": np.int64}


@dataclass(frozen=True, eq=False)
class Bucket:
    """The ratings of consecutive users by (user_index, item_index), one a pair.

    Attributes:
        users: which.
        indptr: (len(users) + 1,) int64, where each user's ratings begin.
        item_index, rating, timestamp: (n,) as in `Ratings`.
        row: (n,) int64, grows with the place in the input; the place itself if that was asked for.
        dropped: (n_dropped,) int64, rows likewise that a later one replaces, if places were asked for.
        repeated: own rows (those of no given hold-out) that a later own row replaces.
        seen_user_index, seen_item_index: pairs of refused rows, by (user, item), that have no rating here.
    """

    users: Shard
    indptr: NDArray[np.int64]
    item_index: NDArray[np.int32]
    rating: NDArray[np.float32]
    timestamp: NDArray[np.int64] | None
    row: NDArray[np.int64]
    dropped: NDArray[np.int64]
    repeated: int
    seen_user_index: NDArray[np.int32]
    seen_item_index: NDArray[np.int32]


def shuffle(joined: Joined, folder: Path, *, with_rows: bool, memory: int, threads: int) -> Iterator[Bucket]:
    """The ratings of all users, in consecutive buckets.

    Args:
        folder: an existing folder, to deal into: up to 28 bytes a row.
        with_rows: whether `Bucket.row` must be the row's place in the input.
        memory: bytes for the threads + 1 buckets that are under way together; what lies beside them is proportional
            to the users and items.
    """
    indptr = np.concatenate(([0], np.cumsum(joined.stream.user_rows)))
    rows = max(memory // (ROW_BYTES * (threads + 1)), indptr[-1] // MOST_BUCKETS + 1)
    buckets = cut(indptr, int(rows), len(indptr))
    names = [name for name in COLUMNS if (name != "timestamp" or joined.stream.timed)]
    if not (with_rows or joined.given):
        names.remove("row")
    _deal(joined, folder, names, indptr, buckets, threads)
    return in_order(partial(_sorted, joined, folder, names, indptr, with_rows), buckets, threads)


def _deal(
    joined: Joined, folder: Path, names: list[str], indptr: NDArray[np.int64], buckets: tuple[Shard, ...], threads: int
) -> None:
    """Write the rows by bucket, a file a column; within a bucket they stay in the order of the input."""
    bucket_of = np.repeat(np.arange(len(buckets), dtype=np.int32), [len(bucket) for bucket in buckets])
    written = indptr[[bucket.start for bucket in buckets]]
    firsts = np.concatenate(([0], np.cumsum(joined.stream.sizes)))
    tasks = list(zip(joined.stream.blocks, firsts[:-1].tolist(), strict=True))
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / name).open("wb")) for name in names}

        def dealt(task):  # type: ignore[no-untyped-def]
            load, first = task
            return _by_bucket(load(), first, names, bucket_of, len(buckets))

        for columns, starts in in_order(dealt, tasks, threads):
            for name, column in columns.items():
                for bucket in np.flatnonzero(np.diff(starts)):
                    piece = column[starts[bucket] : starts[bucket + 1]]
                    _write_at(files[name].fileno(), piece, int(written[bucket]) * piece.itemsize)
            written += np.diff(starts)


def _by_bucket(
    block: Block, first: int, names: list[str], bucket_of: NDArray[np.int32], n_buckets: int
) -> tuple[dict[str, NDArray], NDArray[np.int64]]:
    """A block's columns by bucket, and where in them each bucket begins."""
    order, starts = _order_by(bucket_of, block.user_index, n_buckets)
    columns: dict[str, NDArray] = {"user": block.user_index, "item": block.item_index, "rating": block.rating}
    if block.timestamp is not None:
        columns["timestamp"] = block.timestamp
    dealt = {name: column[order] for name, column in columns.items()}
    return (dealt | {"row": order + first} if "row" in names else dealt), starts


@compiled
def _order_by(bucket_of, user, n_buckets):  # type: ignore[no-untyped-def]
    starts = np.zeros(n_buckets + 1, np.int64)
    for row in range(len(user)):
        starts[bucket_of[user[row]] + 1] += 1
    for bucket in range(n_buckets):
        starts[bucket + 1] += starts[bucket]
    place, order = starts[:-1].copy(), np.empty(len(user), np.int64)
    for row in range(len(user)):
        bucket = bucket_of[user[row]]
        order[place[bucket]] = row
        place[bucket] += 1
    return order, starts


def _write_at(file: int, piece: NDArray, offset: int) -> None:
    left = piece.view(np.uint8).data
    while len(left):  # one call writes at most 2 GiB, and less where a disk is nearly full
        done = os.pwrite(file, left, offset)
        left, offset = left[done:], offset + done


def _sorted(
    joined: Joined, folder: Path, names: list[str], indptr: NDArray[np.int64], with_dropped: bool, users: Shard
) -> Bucket:
    start, stop = int(indptr[users.start]), int(indptr[users.stop])

    def column(name: str) -> NDArray:
        kind = np.dtype(COLUMNS[name])
        return np.fromfile(folder / name, kind, stop - start, offset=start * kind.itemsize)

    user, item, n_items = column("user"), column("item"), len(joined.stream.item_ids)
    timestamp = column("timestamp") if "timestamp" in names else np.empty(0, np.int64)
    row = column("row") if "row" in names else np.arange(len(user))
    order = by_pair(user, item, users.start, len(users), n_items)
    kept, repeated = latest(order, user, item, timestamp, int(np.searchsorted(row, joined.own)))
    user, item = user[kept], item[kept]
    return Bucket(
        users=users,
        indptr=np.concatenate(([0], np.cumsum(np.bincount(user - users.start, minlength=len(users))))),
        item_index=item,
        rating=column("rating")[kept],
        timestamp=timestamp[kept] if joined.timed else None,
        row=row[kept],
        dropped=np.delete(row, kept) if with_dropped else row[:0],
        repeated=repeated,
        **_seen(joined, users, user, item, n_items),
    )


def _seen(
    joined: Joined, users: Shard, rated_user: NDArray[np.int32], rated_item: NDArray[np.int32], n_items: int
) -> dict[str, NDArray[np.int32]]:
    start, stop = np.searchsorted(joined.stream.seen_user_index, [users.start, users.stop])
    seen = joined.stream.seen_user_index[start:stop], joined.stream.seen_item_index[start:stop]
    if start < stop:
        rated = pair_keys(rated_user, rated_item, n_items)
        seen = pairs_of(unrated(pair_keys(*seen, n_items), rated), n_items)
    return dict(zip(("seen_user_index", "seen_item_index"), seen, strict=True))
