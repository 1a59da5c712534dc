"""Shards: consecutive users that a stage works on together, so that its memory does not grow with their number."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

# What a stage reads of a shard are 5 bytes a rating as a pair that is seen and 8 as a history, and about as much again
# while it is put together: 100 MB. Starting a shard costs milliseconds, which 4 million ratings (a second of scoring
# or more) make nothing of, and ml-25m still has seven: enough for two workers to share.
SHARD_RATINGS = 4_000_000
# Users of few ratings still get a list each, and have a row of factors that is read: 100,000 of 10 rows of 30 bytes and
# of 64 factors are 56 MB.
SHARD_USERS = 100_000


@dataclass(frozen=True)
class Shard:
    """The users of user_index `start` to `stop`, which is the first beyond."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def cut(indptr: NDArray[np.int64], ratings: int = SHARD_RATINGS, users: int = SHARD_USERS) -> tuple[Shard, ...]:
    """Shards that cover all users in order, each with as many as fit both bounds; one of many ratings stands alone.

    They follow from the data only: the same for any machine, number of workers and engine.

    Args:
        indptr: (n_users + 1,) where each user's ratings begin.

    >>> cut(np.array([0, 2, 4, 9, 9, 9]), ratings=4, users=2)
    (Shard(start=0, stop=2), Shard(start=2, stop=3), Shard(start=3, stop=5))
    """
    n_users, edges = len(indptr) - 1, [0]
    while (start := edges[-1]) < n_users:
        fitting = int(np.searchsorted(indptr, indptr[start] + ratings, side="right")) - 1
        edges.append(min(max(fitting, start + 1), start + users, n_users))
    return tuple(Shard(start, stop) for start, stop in pairwise(edges))
