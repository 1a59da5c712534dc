"""Ratings in a grid of blocks of users x blocks of items, so that threads can train on disjoint rows.

Source: R. Gemulla et al., "Large-scale matrix factorization with distributed stochastic gradient descent", KDD 2011:
the blocks of a stratum share neither a user nor an item, so the order in which they are done changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.compute import MIB, compiled
from recsys.train.rated import Pairs

# Blocks a side, whatever the machine: at most as many threads have work. With 20 million ratings of 162,541 users and
# 57,367 items a rating took 48, 35 and 41 ns with 8, 16 and 32: a block's item rows should fit a core's cache.
SIDE = 16
RATING_BYTES = 12  # user, item and rating, each once

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Strata:
    """Rated pairs by block: stratum `s` has the blocks of user block `b` and item block `(b + s) % SIDE`, b ascending.

    Within a block pairs stand by user, then by item; shuffling them is half as fast again, and no better.

    Attributes:
        user, item: (n_ratings,) int32.     rating: (n_ratings,) float32.
        edges: (SIDE * SIDE + 1,) int64, where each block begins, and the last ends.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    rating: NDArray[np.float32]
    edges: Index

    def __len__(self) -> int:
        return int(self.edges[-1])

    def blocks(self) -> Iterator[Pairs]:
        """All pairs, a stratum at a time."""
        for first in range(0, SIDE * SIDE, SIDE):
            own = slice(self.edges[first], self.edges[first + SIDE])
            yield Pairs(self.user[own], self.item[own], self.rating[own])


@contextmanager
def strata_of(
    ratings: csr_matrix, held_back: float, seed: int, memory_mib: int, folder: Path | None
) -> Iterator[tuple[Strata, Pairs]]:
    """The ratings to train on by block, and a slice of them held back; for as long as the `with` lasts.

    Args:
        ratings: (n_users, n_columns) CSR; may be memory-mapped.
        held_back: share of the ratings in the slice, each drawn for itself; where that would leave none to train on,
            nothing is held back.
        memory_mib: with more ratings than half of it holds, they are kept in files: blocks are read one after another.
        folder: where those files may stand; None is the system's temporary folder.
    """
    indptr, indices = ratings.indptr, ratings.indices
    user_block = _even_blocks(np.diff(indptr))
    item_block = _even_blocks(_counts(indices, ratings.shape[1]))
    sizes = _block_sizes(indptr, indices, user_block, item_block, held_back, seed)
    if not sizes[:-1].any():
        held_back, sizes = 0.0, _block_sizes(indptr, indices, user_block, item_block, 0.0, seed)
    n_watched, edges = int(sizes[-1]), np.concatenate(([0], np.cumsum(sizes[:-1])))
    watched = _empty(n_watched, None)
    with TemporaryDirectory(dir=_made(folder)) as temporary:
        in_files = ratings.nnz * RATING_BYTES > memory_mib * MIB / 2
        strata = _empty(int(edges[-1]), Path(temporary) if in_files else None)
        _place(
            indptr, indices, ratings.data, user_block, item_block, held_back, seed, edges[:-1].copy(),
            strata.user, strata.item, strata.rating, watched.user, watched.item, watched.rating,
        )  # fmt: skip
        yield Strata(strata.user, strata.item, strata.rating, edges), watched


def _even_blocks(count: Index) -> NDArray[np.uint8]:
    """(n,) the block of each row: consecutive rows, about equally many ratings a block."""
    before = np.cumsum(count) - count
    return np.asarray(before * SIDE // max(int(count.sum()), 1)).astype(np.uint8)


def _counts(indices: NDArray[np.int32], n: int, step: int = 1 << 22) -> Index:
    """(n,) how often each index stands there, without a copy of all."""
    parts = (np.bincount(indices[start : start + step], minlength=n) for start in range(0, len(indices), step))
    return np.asarray(sum(parts, start=np.zeros(n, np.int64)))


def _empty(n: int, folder: Path | None) -> Pairs:
    def column(name: str, kind: type[np.int32] | type[np.float32]) -> NDArray[Any]:
        return np.empty(n, kind) if folder is None else np.memmap(folder / name, kind, "w+", shape=n)

    return Pairs(column("user", np.int32), column("item", np.int32), column("rating", np.float32))


def _made(folder: Path | None) -> Path | None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@compiled
def _is_held_back(seed, place, share):  # type: ignore[no-untyped-def]
    """A number in 0..1 of the rating's own, from SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), below the share."""
    z = np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(place + 1) * np.uint64(0x9E3779B97F4A7C15)
    for _ in range(2):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) * 2.0**-53 < share


@compiled
def _block(user_block, item_block):  # type: ignore[no-untyped-def]
    return ((np.int64(item_block) - np.int64(user_block)) % SIDE) * SIDE + np.int64(user_block)


@compiled
def _block_sizes(indptr, indices, user_block, item_block, held_back, seed):  # type: ignore[no-untyped-def]
    """(SIDE * SIDE + 1,) ratings of each block, and of the slice."""
    sizes = np.zeros(SIDE * SIDE + 1, np.int64)
    for user in range(len(indptr) - 1):
        for place in range(indptr[user], indptr[user + 1]):
            if _is_held_back(seed, place, held_back):
                sizes[SIDE * SIDE] += 1
            else:
                sizes[_block(user_block[user], item_block[indices[place]])] += 1
    return sizes


@compiled
def _place(  # type: ignore[no-untyped-def]
    indptr, indices, data, user_block, item_block, held_back, seed, free,
    user_out, item_out, rating_out, watched_user, watched_item, watched_rating,
):  # fmt: skip
    """Put each rating at the first free place of its block, or of the slice."""
    n_watched = 0
    for user in range(len(indptr) - 1):
        for place in range(indptr[user], indptr[user + 1]):
            if _is_held_back(seed, place, held_back):
                watched_user[n_watched] = user
                watched_item[n_watched] = indices[place]
                watched_rating[n_watched] = data[place]
                n_watched += 1
            else:
                block = _block(user_block[user], item_block[indices[place]])
                to = free[block]
                free[block] += 1
                user_out[to] = user
                item_out[to] = indices[place]
                rating_out[to] = data[place]
