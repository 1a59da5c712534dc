"""Shards: consecutive ranges of users, the units in which the work of a night is cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SHARD_RATINGS = 4_000_000
SHARD_USERS = 200_000


@dataclass(frozen=True)
class Shard:
    """The users [start, stop) of the id map."""

    start: int
    stop: int


def cut(indptr: NDArray[np.int64], ratings: int = SHARD_RATINGS, users: int = SHARD_USERS) -> tuple[Shard, ...]:
    """Shards of about as many ratings, of at most as many users."""
    shards, start = [], 0
    while start < len(indptr) - 1:
        stop = int(np.searchsorted(indptr, indptr[start] + ratings, side="right")) - 1
        stop = min(max(stop, start + 1), start + users, len(indptr) - 1)
        shards.append(Shard(start, stop))
        start = stop
    return tuple(shards)
