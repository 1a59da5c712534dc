"""The contract's invariants, checked on the recommendations as they were written, row group by row group."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys import tables
from recsys.identifiers import IdMap, positions
from recsys.prepare.prepared import Prepared
from recsys.prepare.shards import Shard
from recsys.publish.obeyed import Obeyed

SOURCES = (tables.SOURCE_MODEL, tables.SOURCE_FOLD_IN, tables.SOURCE_POPULAR)


class BrokenTable(Exception):
    """A written table does not hold what the contract promises: a defect, and nothing is published."""


def check_recommendations(
    folder: Path,
    prepared: Prepared,
    users: NDArray[np.int32],
    *,
    n: int,
    n_candidates: int,
    obeyed: Obeyed | None = None,
) -> dict[str, int]:
    """Check every row; returns the number of rows by `source`.

    Args:
        prepared: what the lists were made from.
        users: user_index of everyone who must have a list, ascending.
        n: wanted length of a list.
        n_candidates: items with a rating.
        obeyed: the run's rules; None where it has none.

    Raises:
        BrokenTable: names the first broken rule and where.
    """
    ids = prepared.ids
    rows = np.zeros(ids.n_users, dtype=np.int64)
    sources = dict.fromkeys(SOURCES, 0)
    last_user, near, short = -1, _Neighbourhood(prepared), dict[int, NDArray[np.int32]]()
    for group in _row_groups(folder):
        shard, seen = near.of(group["user_id"])
        user = positions(group["user_id"], ids.user_ids.slice(shard.start, shard.stop - shard.start))
        item = ids.item_index(group["item_id"])
        _none(user < 0, "a user is not in the input", group)
        _require(
            bool(len(user)) and shard.start + user[0] > last_user, "a user's list is split or out of order", group, 0
        )
        last_user = shard.start + int(user[-1])
        _check_group(group, user, item, seen)
        _check_opinions(group, user, ids, seen, prepared.scale)
        if obeyed is not None:
            who = user + np.int32(shard.start)
            _check_rules(group, obeyed, who, item)
            short |= _short_lists(who, item, n) if obeyed.may_shorten else {}
        rows[shard.start : shard.stop] += np.bincount(user, minlength=shard.stop - shard.start)
        for entry in pc.value_counts(group["source"]).to_pylist():
            sources[entry["values"]] += entry["counts"]
    for shard in prepared.shards:
        here = users[np.searchsorted(users, shard.start) : np.searchsorted(users, shard.stop)] - np.int32(shard.start)
        may_be_short = None if obeyed is None else _Short(obeyed, short)
        _check_lengths(rows[shard.start : shard.stop], shard, prepared, here, n, n_candidates, may_be_short)
    return sources


class _Neighbourhood:
    """The users around some rows, and what they must not be recommended: a few shards, not all users."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.firsts = [prepared.ids.user_ids[shard.start].as_py() for shard in prepared.shards]
        self.last: tuple[Shard, csr_matrix] | None = None

    def of(self, user_ids: pa.Array) -> tuple[Shard, csr_matrix]:
        """The shards from the first id's to the last id's as one, and its seen pairs."""
        shards, (first, last) = self.prepared.shards, (user_ids[0].as_py(), user_ids[-1].as_py())
        start = shards[max(bisect_right(self.firsts, first) - 1, 0)].start
        around = Shard(start, max(shards[max(bisect_right(self.firsts, last) - 1, 0)].stop, start))
        if self.last is None or self.last[0] != around:
            self.last = around, self.prepared.seen("all", around)
        return self.last


def _row_groups(folder: Path) -> Iterator[dict[str, pa.Array]]:
    for part in sorted(folder.glob("part-*.parquet")):
        file = pq.ParquetFile(part)
        for place in range(file.num_row_groups):
            table = file.read_row_group(place)
            if table.num_rows:
                yield {name: table[name].combine_chunks() for name in table.column_names}


def _check_group(
    group: dict[str, pa.Array], user: NDArray[np.int32], item: NDArray[np.int32], seen: csr_matrix
) -> None:
    n_items = seen.shape[1]
    rank = group["rank"].to_numpy()
    same = user[1:] == user[:-1]
    _none(item < 0, "an item is not in the input", group)
    _none(np.concatenate(([False], user[1:] < user[:-1])), "users are out of order", group)
    _none(
        np.concatenate(([rank[0] != 1], np.where(same, rank[1:] != rank[:-1] + 1, rank[1:] != 1))),
        "ranks have a gap",
        group,
    )
    key = user.astype(np.int64) * n_items + item
    _require(len(np.unique(key)) == len(key), "an item stands twice in a list", group, 0)
    _none(_stored(seen, user, item), "an item was rated by its user", group)
    _check_order(group, item, same)


def _check_order(group: dict[str, pa.Array], item: NDArray[np.int32], same: NDArray[np.bool_]) -> None:
    popular = pc.equal(group["source"], tables.SOURCE_POPULAR).to_numpy(zero_copy_only=False)
    null = pc.is_null(group["score"]).to_numpy(zero_copy_only=False)
    score = pc.fill_null(group["score"], 0.0).to_numpy()
    _none(null != popular, "a score is null outside `popular` rows, or set in one", group)
    _none(~np.isfinite(score), "a score is not finite", group)
    pair = same & ~popular[1:] & ~popular[:-1]
    rising = pair & (score[1:] > score[:-1])
    tie = pair & (score[1:] == score[:-1]) & (item[1:] <= item[:-1])
    _none(np.concatenate(([False], rising)), "a score rises with rank", group)
    _none(np.concatenate(([False], tie)), "a tie is not in the order of item ids", group)
    _none(np.concatenate(([False], same & popular[:-1] & ~popular[1:])), "a `popular` row is not last", group)


def _check_opinions(
    group: dict[str, pa.Array], user: NDArray[np.int32], ids: IdMap, seen: csr_matrix, scale: tuple[float, float]
) -> None:
    """Sources are known, predictions lie within the scale, and a reason is something that its user has rated."""
    known = pc.is_in(group["source"], value_set=pa.array(SOURCES)).to_numpy(zero_copy_only=False)
    _none(~known, "a source is unknown", group)
    lowest, highest = np.array(scale, dtype=np.float32)
    predicted = pc.fill_null(group["predicted_rating"], lowest).to_numpy()
    _none(
        ~((predicted >= lowest) & (predicted <= highest)), "a predicted rating is no number or outside the scale", group
    )
    given = pc.is_valid(group["because_item_id"]).to_numpy(zero_copy_only=False)
    because = ids.item_index(group["because_item_id"])
    unknown = given & ((because < 0) | ~_stored(seen, user, np.maximum(because, 0)))
    _none(unknown, "the reason for an item was not rated by its user", group)


@dataclass(frozen=True)
class _Short:
    """Why a list may be shorter: the rules, and what the lists of fewer than n rows hold."""

    obeyed: Obeyed
    lists: Mapping[int, NDArray[np.int32]]

    def explains(self, user: int, seen: csr_matrix) -> bool:
        listed = self.lists.get(user, np.empty(0, np.int32))
        return self.obeyed.is_exhausted(user, listed, seen.indices)


def _short_lists(user: NDArray[np.int32], item: NDArray[np.int32], n: int) -> dict[int, NDArray[np.int32]]:
    """The items of each list with fewer than n rows."""
    who, start, length = np.unique(user, return_index=True, return_counts=True)
    return {int(who[at]): item[start[at] : start[at] + length[at]] for at in np.flatnonzero(length < n)}


def _check_rules(group: dict[str, pa.Array], obeyed: Obeyed, user: NDArray[np.int32], item: NDArray[np.int32]) -> None:
    _none(obeyed.forbidden(user, item), "a rule forbids this user this item", group)
    _none(obeyed.over_cap(user, item), "a list has more items of one value than a cap lets through", group)


def _check_lengths(
    rows: NDArray[np.int64],
    shard: Shard,
    prepared: Prepared,
    users: NDArray[np.int32],
    n: int,
    n_candidates: int,
    short: _Short | None,
) -> None:
    """The lists of one shard, which `users` and `rows` count from 0."""
    expected = np.zeros(len(rows), dtype=np.int64)
    # Every item with a rating is a candidate but for those seen; seen items of a given hold-out alone are not rated
    # in training, so that a list may be longer than this bound, never shorter.
    seen = prepared.seen("all", shard)
    expected[users] = np.clip(n_candidates - np.diff(seen.indptr)[users], 0, n)
    if short is not None:
        expected[users] = short.obeyed.most(shard.start + users.astype(np.int64), seen[users], n)
        for user in np.flatnonzero(rows < expected):
            if short.explains(shard.start + int(user), seen[int(user)]):
                expected[user] = rows[user]
    wrong = (rows < expected) | (rows > n) | ((expected == 0) & (rows > 0) & ~np.isin(np.arange(len(rows)), users))
    if wrong.any():
        first = int(np.argmax(wrong))
        name = prepared.ids.user_ids[shard.start + first]
        raise BrokenTable(f"user {name} has {rows[first]} rows, expected {expected[first]} ({int(wrong.sum())} users)")


def _stored(matrix: csr_matrix, row: NDArray[np.int32], column: NDArray[np.int32]) -> NDArray[np.bool_]:
    return np.asarray(matrix[row, column]).ravel() != 0


def _none(broken: NDArray[np.bool_], rule: str, group: dict[str, pa.Array]) -> None:
    if broken.any():
        _require(False, rule, group, int(np.argmax(broken)))


def _require(holds: bool, rule: str, group: dict[str, pa.Array], row: int) -> None:
    if not holds:
        place = {name: column[row].as_py() for name, column in group.items()} if len(group["user_id"]) else {}
        raise BrokenTable(f"{rule}, at {place}")
