"""Ranking metrics of a recommendations table against a hold-out. All held-out items of a user are relevant.

With rel(r) = 1 where the item at rank r is held out, and m the user's number of held-out items:

    precision@k  sum rel(r<=k) / k                      recall@k    sum rel(r<=k) / m
    hit_rate@k   1 where any rel(r<=k)                  mrr         1 / rank of the first hit in the list, else 0
    map@k        sum rel(r) precision@r / min(m, k)     ndcg@k      sum rel(r) / log2(r+1), over the same sum for
                                                                    an ideal list of min(m, k) hits (ideal cut at k)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FORMULAS = {
    "ndcg": "DCG@k / ideal DCG cut at k; gain 1 for a held-out item, discount log2(rank + 1); mean over users",
    "precision": "held-out items among the first k / k; mean over users",
    "recall": "held-out items among the first k / held-out items; mean over users",
    "hit_rate": "share of users with a held-out item among the first k",
    "map": "mean of precision at each hit among the first k, over min(held-out items, k); mean over users",
    "mrr": "1 / rank of the first held-out item in the list, 0 without one; mean over users",
}


@dataclass(frozen=True, eq=False)
class Relevance:
    """Which places of each list are hits.

    Attributes:
        hits: (n_users, n) bool, over the users with a held-out rating.
        relevant: (n_users,) int64, held-out items of each.
    """

    hits: NDArray[np.bool_]
    relevant: NDArray[np.int64]


def relevance(
    lists: NDArray[np.int32], holdout_user: NDArray[np.int32], holdout_item: NDArray[np.int32], n_items: int
) -> Relevance:
    """Mark the hits.

    Args:
        lists: (n_users, n) int32 item_index by rank, -1 where a list is short; a row a user_index.
        holdout_user, holdout_item: (n_held_out,) int32, distinct pairs.
    """
    relevant = np.bincount(holdout_user, minlength=len(lists))
    users = np.flatnonzero(relevant)
    wanted = np.sort(holdout_user.astype(np.int64) * n_items + holdout_item)
    listed = users[:, None].astype(np.int64) * n_items + lists[users]
    place = np.minimum(np.searchsorted(wanted, listed), max(len(wanted) - 1, 0))
    hits = (wanted[place] == listed) & (lists[users] >= 0) if len(wanted) else np.zeros(listed.shape, bool)
    return Relevance(hits, relevant[users])


def per_user(marked: Relevance, cutoffs: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    """Each metric's (n_users,) values, by metric id."""
    values: dict[str, NDArray[np.float64]] = {}
    for k in sorted(set(cutoffs)):
        values |= {f"{name}@{k}": value for name, value in _at(k, marked).items()}
    rank = np.argmax(marked.hits, axis=1) + 1
    values["mrr"] = np.where(marked.hits.any(axis=1), 1.0 / rank, 0.0)
    return values


def names(cutoffs: Sequence[int]) -> tuple[str, ...]:
    """The ids of `per_user`'s metrics, in its order."""
    nobody = Relevance(np.zeros((0, max(cutoffs)), bool), np.zeros(0, np.int64))
    return tuple(per_user(nobody, cutoffs))


def _at(k: int, marked: Relevance) -> dict[str, NDArray[np.float64]]:
    hits = marked.hits[:, :k].astype(np.float64)
    rank = np.arange(1, hits.shape[1] + 1)
    ideal = np.concatenate(([0.0], np.cumsum(1.0 / np.log2(np.arange(1, k + 1) + 1))))
    possible = np.minimum(marked.relevant, k)
    total = hits.sum(axis=1)
    return {
        "ndcg": (hits / np.log2(rank + 1)).sum(axis=1) / ideal[possible],
        "precision": total / k,
        "recall": total / marked.relevant,
        "hit_rate": (total > 0).astype(np.float64),
        "map": (hits * np.cumsum(hits, axis=1) / rank).sum(axis=1) / possible,
    }
