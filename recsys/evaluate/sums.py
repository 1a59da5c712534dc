"""What the users of one shard add to the metrics; the sums of all shards, in their order, are the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from recsys.evaluate import ranking
from recsys.evaluate.bootstrap import Bootstrap
from recsys.evaluate.lists import sampled_users
from recsys.evaluate.rating import Errors
from recsys.prepare.shards import Shard


@dataclass(frozen=True, eq=False)
class Sums:
    """Arrays; those of several shards are added, or set one after the other where the field says `joined`."""

    @classmethod
    def whole(cls, shards: Sequence[Self]) -> Self:
        """Of all shards, which are given in their order: a sum of floats depends on it."""
        values: dict[str, Any] = {}
        for each in fields(cls):
            parts = [getattr(shard, each.name) for shard in shards]
            values[each.name] = np.concatenate(parts) if each.metadata.get("joined") else sum(parts[1:], parts[0])
        return cls(**values)

    def save(self, file: Path) -> None:
        """Write the arrays."""
        np.savez(file, allow_pickle=False, **{each.name: getattr(self, each.name) for each in fields(self)})

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(file, allow_pickle=False) as stored:
            return cls(**{name: stored[name] for name in stored.files})


@dataclass(frozen=True, eq=False)
class RankingSums(Sums):
    """Of the lists of some users.

    Attributes:
        total: (m + 1,) float64, sums of the metrics of `ranking.names` over the users with a held-out rating, and how
            many those are.
        drawn: (samples, m + 1) float64, the same in each resample.
        times: (n_cutoffs, n_items) int64, how often each item is among the first k.
        sampled: (n_sampled, n) int32, lists of the users whom `sampled_users` names.
    """

    total: NDArray[np.float64]
    drawn: NDArray[np.float64]
    times: NDArray[np.int64]
    sampled: NDArray[np.int32] = field(metadata={"joined": True})


@dataclass(frozen=True, eq=False)
class RatingSums(Sums):
    """Of the errors on some users' held-out ratings.

    Attributes:
        total: (3,) float64, squared errors, absolute errors, ratings.
        drawn: (samples, 3) float64, the same in each resample of users.
        stood_in: () int64, ratings for which the rater could not say.
    """

    total: NDArray[np.float64]
    drawn: NDArray[np.float64]
    stood_in: NDArray[np.int64]


def ranking_sums(
    lists: NDArray[np.int32],
    holdout: tuple[NDArray[np.int32], NDArray[np.int32]],
    shard: Shard,
    shape: tuple[int, int],
    cutoffs: Sequence[int],
    bootstrap: Bootstrap,
) -> RankingSums:
    """Sum the metrics of a shard's lists.

    Args:
        lists: (stop - start, n) int32 item_index by rank, -1 where a list is short; a row a user of the shard.
        holdout: user_index and item_index of the shard's held-out ratings.
        shape: (n_users, n_items) of the input.
    """
    n_users, n_items = shape
    marked = ranking.relevance(lists, holdout[0] - np.int32(shard.start), holdout[1], n_items)
    values = np.stack([*ranking.per_user(marked, cutoffs).values(), np.ones(len(marked.relevant))], axis=1)
    sample = sampled_users(n_users, bootstrap.seed)
    sample = sample[(sample >= shard.start) & (sample < shard.stop)] - shard.start
    return RankingSums(values.sum(axis=0), bootstrap.sums(values, shard.start), _times(lists, cutoffs, n_items),
                       lists[sample])  # fmt: skip


def rating_sums(errors: Errors, shard: Shard, bootstrap: Bootstrap) -> RatingSums:
    """Sum the errors of a shard's users."""
    values = np.stack([errors.squared, errors.absolute, errors.count], axis=1)
    return RatingSums(values.sum(axis=0), bootstrap.sums(values, shard.start), np.asarray(errors.stood_in, np.int64))


def _times(lists: NDArray[np.int32], cutoffs: Sequence[int], n_items: int) -> NDArray[np.int64]:
    listed = [lists[:, :k][lists[:, :k] >= 0] for k in sorted(set(cutoffs))]
    return np.stack([np.bincount(each, minlength=n_items) for each in listed])
