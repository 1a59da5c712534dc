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
from recsys.evaluate.groups import N_GROUPS, group_of
from recsys.evaluate.lists import sampled_users
from recsys.evaluate.rating import Errors, Holdout
from recsys.prepare.shards import Shard

DETAIL_AT = 10  # the k at which lists are looked at by user and item; always among the cut-offs
N_LEVELS = 26  # true ratings are told apart on a grid of so many: stars, half stars, 0 to 10, tenths of 1 to 3.5
N_CELLS = 50  # predicted ratings are counted in so many cells of the scale


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
        by_activity: (N_GROUPS, m + 1) float64, `total` by the users' ratings in training.
        listed: (N_GROUPS, n_items) int32, how often each item is among the first `DETAIL_AT`, by the users' likewise.
        found: (2, n_items) int64, held-out ratings of each item, and those among their user's first `DETAIL_AT`.
    """

    total: NDArray[np.float64]
    drawn: NDArray[np.float64]
    times: NDArray[np.int64]
    sampled: NDArray[np.int32] = field(metadata={"joined": True})
    by_activity: NDArray[np.float64]
    listed: NDArray[np.int32]
    found: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RatingSums(Sums):
    """Of the errors on some users' held-out ratings.

    Attributes:
        total: (3,) float64, squared errors, absolute errors, ratings.
        drawn: (samples, 3) float64, the same in each resample of users.
        stood_in: () int64, ratings for which the rater could not say.
        by_activity, by_popularity: (N_GROUPS, 3) float64, `total` by the ratings in training of the user, of the item.
        by_level: (N_LEVELS, 5) float64, ratings, their sum, and the sums of errors, squared and absolute errors, by the
            true rating on the grid of the scale.
        by_cell: (N_CELLS, 3) float64, ratings, and the sums of predicted and of true ratings, by the predicted rating.
        density: (N_LEVELS, N_CELLS) int64, ratings by both.
    """

    total: NDArray[np.float64]
    drawn: NDArray[np.float64]
    stood_in: NDArray[np.int64]
    by_activity: NDArray[np.float64]
    by_popularity: NDArray[np.float64]
    by_level: NDArray[np.float64]
    by_cell: NDArray[np.float64]
    density: NDArray[np.int64]


def ranking_sums(
    lists: NDArray[np.int32],
    holdout: tuple[NDArray[np.int32], NDArray[np.int32]],
    activity: NDArray[np.int64],
    shard: Shard,
    shape: tuple[int, int],
    cutoffs: Sequence[int],
    bootstrap: Bootstrap,
) -> RankingSums:
    """Sum the metrics of a shard's lists.

    Args:
        lists: (stop - start, n) int32 item_index by rank, -1 where a list is short; a row a user of the shard.
        holdout: user_index and item_index of the shard's held-out ratings.
        activity: (stop - start,) ratings in training of each user.
        shape: (n_users, n_items) of the input.
    """
    n_users, n_items = shape
    marked = ranking.relevance(lists, holdout[0] - np.int32(shard.start), holdout[1], n_items)
    values = np.stack([*ranking.per_user(marked, cutoffs).values(), np.ones(len(marked.relevant))], axis=1)
    sample = sampled_users(n_users, bootstrap.seed)
    sample = sample[(sample >= shard.start) & (sample < shard.stop)] - shard.start
    group, judged = group_of(activity), np.unique(holdout[0]) - shard.start
    first = lists[:, :DETAIL_AT]
    hit = first[judged][marked.hits[:, :DETAIL_AT]]
    return RankingSums(
        total=values.sum(axis=0),
        drawn=bootstrap.sums(values, shard.start),
        times=_times(lists, cutoffs, n_items),
        sampled=lists[sample],
        by_activity=_grouped(group[judged], values, N_GROUPS),
        listed=np.stack([_counted(first[group == each], n_items) for each in range(N_GROUPS)]).astype(np.int32),
        found=np.stack([_counted(holdout[1], n_items), _counted(hit, n_items)]),
    )


def rating_sums(
    errors: Errors,
    holdout: Holdout,
    predicted: NDArray[np.float64],
    counts: tuple[NDArray[np.int64], NDArray[np.int64]],
    scale: tuple[float, float],
    shard: Shard,
    bootstrap: Bootstrap,
) -> RatingSums:
    """Sum the errors of a shard's users.

    Args:
        errors: of `predicted`, by user.
        predicted: (n,) of the held-out ratings, within the scale.
        counts: ratings in training of the user and of the item of each held-out rating.
    """
    values = np.stack([errors.squared, errors.absolute, errors.count], axis=1)
    rating = holdout[2].astype(np.float64)
    error, one = predicted - rating, np.ones(len(rating))
    off = np.stack([error**2, np.abs(error), one], axis=1)
    level, cell = level_of(rating, scale), cell_of(predicted, scale)
    both = np.bincount(level * N_CELLS + cell, minlength=N_LEVELS * N_CELLS)
    return RatingSums(
        total=values.sum(axis=0),
        drawn=bootstrap.sums(values, shard.start),
        stood_in=np.asarray(errors.stood_in, np.int64),
        by_activity=_grouped(group_of(counts[0]), off, N_GROUPS),
        by_popularity=_grouped(group_of(counts[1]), off, N_GROUPS),
        by_level=_grouped(level, np.stack([one, rating, error, error**2, np.abs(error)], axis=1), N_LEVELS),
        by_cell=_grouped(cell, np.stack([one, predicted, rating], axis=1), N_CELLS),
        density=both.reshape(N_LEVELS, N_CELLS),
    )


def level_of(rating: NDArray[np.float64], scale: tuple[float, float]) -> NDArray[np.int64]:
    """The nearest of `N_LEVELS` points that part the scale evenly; different for ratings on up to so many steps.

    >>> level_of(np.array([1.0, 3.0, 5.0]), (1.0, 5.0))
    array([ 0, 12, 25])
    """
    return np.rint(_share_of(rating, scale) * (N_LEVELS - 1)).astype(np.int64)


def cell_of(predicted: NDArray[np.float64], scale: tuple[float, float]) -> NDArray[np.int64]:
    """The one of `N_CELLS` equal cells of the scale; the highest rating belongs to the last."""
    return np.minimum((_share_of(predicted, scale) * N_CELLS).astype(np.int64), N_CELLS - 1)


def _share_of(rating: NDArray[np.float64], scale: tuple[float, float]) -> NDArray[np.float64]:
    lowest, highest = scale
    return np.clip((rating - lowest) / ((highest - lowest) or 1.0), 0.0, 1.0)


def _grouped(group: NDArray[np.int64], values: NDArray[np.float64], n_groups: int) -> NDArray[np.float64]:
    """(n_groups, m) sums of the rows of each group."""
    columns = [np.bincount(group, weights=column, minlength=n_groups) for column in values.T]
    return np.stack(columns, axis=1).astype(np.float64)


def _counted(items: NDArray[np.int32], n_items: int) -> NDArray[np.int64]:
    """(n_items,) how often each stands there; -1 does not count."""
    return np.bincount(items[items >= 0], minlength=n_items)


def _times(lists: NDArray[np.int32], cutoffs: Sequence[int], n_items: int) -> NDArray[np.int64]:
    return np.stack([_counted(lists[:, :k], n_items) for k in sorted(set(cutoffs))])
