"""Rated pairs as trainings take them: in memory or in shards, a slice held back, and what their counts say."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.compute import MIB
from recsys.prepare.means import rows_of
from recsys.train.examples import Examples, InMemory, ParquetShards, write_shards

log = logging.getLogger("recsys")

EXAMPLE_BYTES = 48  # of a rating while it is trained on: the pair, its copy without the slice, its tensor, its shuffle
BLOCK = 1 << 22  # ratings read at a time


class Rated(Protocol):
    """Rated pairs, however they are kept."""

    def __len__(self) -> int: ...

    def blocks(self) -> Iterator[Pairs]:
        """All pairs, some at a time."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Rated pairs.

    Attributes:
        user, item: (n_ratings,) int32, rows of the model's tables.
        rating: (n_ratings,) float32.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    rating: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rating)

    def where(self, mask: NDArray[np.bool_]) -> Pairs:
        """The pairs that a mask chooses."""
        return Pairs(self.user[mask], self.item[mask], self.rating[mask])

    def blocks(self) -> Iterator[Pairs]:
        """All pairs, as many at a time as are held in memory: here all of them."""
        yield self

    @property
    def examples(self) -> Examples:
        """For `train_epochs`."""
        return InMemory((self.user, self.item, self.rating))


@dataclass(frozen=True, eq=False)
class PairShards:
    """Rated pairs in Parquet shards, for ratings that would not fit in memory beside their tensors and shuffles."""

    examples: ParquetShards

    def __len__(self) -> int:
        return sum(self.examples.sizes)

    def blocks(self) -> Iterator[Pairs]:
        """A shard at a time."""
        for number in range(len(self.examples.sizes)):
            yield Pairs(*self.examples.part(number))


@contextmanager
def split_pairs(
    ratings: csr_matrix, row_of: NDArray[np.int32], held_back: float, seed: int, memory_mib: int, folder: Path | None
) -> Iterator[tuple[Pairs | PairShards, Pairs]]:
    """The pairs to train on, in memory or in shards that last as long as the block, and the slice held back.

    Args:
        ratings: (n_users, n_columns) CSR; may be memory-mapped.
        row_of: (n_columns,) the table's row of each column.
        held_back: share of the ratings in the slice, drawn at random.
        memory_mib: with more ratings than a quarter of it holds, they are streamed.
        folder: where shards may stand; None is the system's temporary folder.
    """
    if ratings.nnz * EXAMPLE_BYTES <= memory_mib * MIB / 4:
        pairs = Pairs(rows_of(ratings).astype(np.int32), row_of[ratings.indices], ratings.data)
        mask = validation_slice(len(pairs), held_back, seed)
        yield pairs.where(~mask), pairs.where(mask)
        return
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        watched: list[Pairs] = []
        n_shards = math.ceil(ratings.nnz * EXAMPLE_BYTES / (memory_mib * MIB / 4))
        blocks = _training_blocks(ratings, row_of, held_back, seed, watched)
        shards = write_shards(Path(temporary) / "pairs", ("user", "item", "rating"), blocks, n_shards, seed)
        log.info("train: %s ratings are streamed from %d shards", f"{ratings.nnz:,}", n_shards)
        columns = ("user", "item", "rating")
        yield PairShards(shards), Pairs(*(np.concatenate([getattr(one, name) for one in watched]) for name in columns))


def _training_blocks(
    ratings: csr_matrix, row_of: NDArray[np.int32], held_back: float, seed: int, watched: list[Pairs]
) -> Iterator[tuple[NDArray, ...]]:
    """Blocks of the pairs that are trained on; those held back are put into `watched`."""
    draw = np.random.default_rng(seed)
    for start in range(0, ratings.nnz, BLOCK):
        place = np.arange(start, min(start + BLOCK, ratings.nnz))
        user = (np.searchsorted(ratings.indptr, place, side="right") - 1).astype(np.int32)
        block = Pairs(user, row_of[ratings.indices[place]], np.asarray(ratings.data[place]))
        mask = draw.random(len(block)) < held_back
        watched.append(block.where(mask))
        kept = block.where(~mask)
        yield kept.user, kept.item, kept.rating


def validation_slice(n: int, fraction: float, seed: int) -> NDArray[np.bool_]:
    """(n,) bool, True for `fraction` of the examples, drawn at random."""
    mask = np.zeros(n, dtype=bool)
    mask[np.random.default_rng(seed).permutation(n)[: int(fraction * n)]] = True
    return mask


def span_of(rated: Rated) -> tuple[float, float]:
    """Lowest and highest rating learned from."""
    lowest, highest = zip(*((np.min(block.rating), np.max(block.rating)) for block in rated.blocks()), strict=True)
    return float(min(lowest)), float(max(highest))


def damped_means(
    rated: Rated, shape: tuple[int, int], damping: float
) -> tuple[float, NDArray[np.float32], NDArray[np.float32]]:
    """Overall mean, then user and item biases: sum of what the ones before leave / (count + damping)."""
    overall = sum(float(block.rating.sum(dtype=np.float64)) for block in rated.blocks()) / len(rated)

    def biases(side: str, rest: Callable[[Pairs], NDArray[np.float64]]) -> NDArray[np.float64]:
        size = shape[side == "item"]
        total = sum(np.bincount(getattr(block, side), rest(block), size) for block in rated.blocks())
        return np.asarray(total) / np.maximum(counts(rated, side, size) + damping, 1.0)

    item_bias = biases("item", lambda block: block.rating.astype(np.float64) - overall)
    user_bias = biases("user", lambda block: block.rating.astype(np.float64) - overall - item_bias[block.item])
    return overall, user_bias.astype(np.float32), item_bias.astype(np.float32)


def counts(rated: Rated, side: str, size: int) -> NDArray[np.int64]:
    """(size,) ratings of each row of the table of that side, `user` or `item`."""
    return np.asarray(sum(np.bincount(getattr(block, side), minlength=size) for block in rated.blocks()))


def strength(count: NDArray[np.int64], reg: float, power: float) -> NDArray[np.float32]:
    """(size,) L2 of each row: reg * (count / mean count) ** -power."""
    relative = np.maximum(count, 1) * (len(count) / count.sum())
    return (reg * relative**-power).astype(np.float32)
