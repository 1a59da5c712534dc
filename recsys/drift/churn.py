"""How much of a user's list stayed."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recsys.identifiers import UNKNOWN, IdMap, positions

P = 0.9  # of the rank-biased overlap: the first ten ranks then hold 86% of the weight (Webber et al., section 4)
PAIRS = 1 << 24  # compared at once, a byte each
Lists = NDArray[np.int32]  # (n_users, n) item_index by rank, negative where a list is short or an item is unknown


def listed(groups: Iterable[pa.Table], users: pa.Array, ids: IdMap, n: int) -> Lists:
    """The lists of some users from a table's row groups, in the order of `users`."""
    lists = np.full((len(users), n), UNKNOWN, dtype=np.int32)
    for group in groups:
        row = positions(group["user_id"].combine_chunks(), users)
        rank = group["rank"].to_numpy() - 1
        keep = (row >= 0) & (rank < n)
        lists[row[keep], rank[keep]] = ids.item_index(group["item_id"].combine_chunks())[keep]
    return lists


def overlap(now: Lists, before: Lists) -> NDArray[np.float64]:
    """(n_users,) items that stand in both lists / items of the longer one; 1 where both are empty."""
    both = (_place(now, before) >= 0).sum(axis=1)
    longer = np.maximum((now >= 0).sum(axis=1), (before >= 0).sum(axis=1))
    return np.where(longer > 0, both / np.maximum(longer, 1), 1.0)


def rank_biased_overlap(now: Lists, before: Lists, p: float = P) -> NDArray[np.float64]:
    """(n_users,) in [0, 1]: the first ranks count most (Webber, Moffat and Zobel, A Similarity Measure for Indefinite
    Rankings, 2010), cut at n and divided by its highest value there:
    sum over d = 1..n of p^(d-1) |first d in both| / d, over sum of p^(d-1).
    """
    n = now.shape[1]
    place = _place(now, before)
    rank = np.broadcast_to(np.arange(n), place.shape)
    deepest = np.where(place >= 0, np.maximum(place, rank), n)  # the depth at which an item has come up in both
    found = np.zeros((len(now), n + 1))
    np.add.at(found, (np.arange(len(now))[:, None], deepest), 1.0)
    agreement = np.cumsum(found[:, :n], axis=1) / np.arange(1, n + 1)
    weight = p ** np.arange(n)
    return agreement @ weight / weight.sum()


def _place(now: Lists, before: Lists) -> NDArray[np.int64]:
    """(n_users, n) where each item of tonight's list stood before, from 0; -1 where it did not."""
    n_users, n = now.shape
    place = np.full((n_users, n), -1, dtype=np.int64)
    step = max(1, PAIRS // (n * before.shape[1]))
    for start in range(0, n_users, step):
        rows = slice(start, start + step)
        same = (now[rows, :, None] == before[rows, None, :]) & (now[rows, :, None] >= 0)
        place[rows] = np.where(same.any(axis=2), same.argmax(axis=2), -1)
    return place
