"""Training of Keras models of (user, item) pairs. Importing this module imports TensorFlow."""

from __future__ import annotations

import logging
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.compute import MIB
from recsys.prepare.means import rows_of
from recsys.train.epochs import Losses, Schedule, Trained, train_epochs
from recsys.train.examples import Examples, InMemory, ParquetShards, write_shards

if TYPE_CHECKING:
    from recsys.models.pairs import PairSettings

log = logging.getLogger("recsys")

EXAMPLE_BYTES = 48  # of a rating while it is trained on: the pair, its copy without the slice, its tensor, its shuffle
BLOCK = 1 << 22  # ratings read at a time
LAZY_COST = 3  # a row that is gathered, summed and scattered costs as much as three that are passed over


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


Rated = Pairs | PairShards


@contextmanager
def split_pairs(
    ratings: csr_matrix, row_of: NDArray[np.int32], held_back: float, seed: int, memory_mib: int, folder: Path | None
) -> Iterator[tuple[Rated, Pairs]]:
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


def train_pairs(
    model: keras.Model,
    rated: Rated,
    losses: Losses,
    settings: PairSettings,
    *,
    epochs: int,
    seed: int,
    watched: Pairs | None = None,
    noise: Callable[[int], Sequence[tuple[int, ...]]] = lambda batch: (),
    checkpoints: Path | None = None,
) -> Trained:
    """Train a model called with (users, items).

    Args:
        model: called with a pair of (n,) int32 tensors, returns (n,) ratings.
        losses: of a batch (user, item, rating); see `train_epochs`.
        epochs: at most; `settings.epochs` is the horizon of the learning rate.
        noise: from the number of examples a step to `train_epochs`' noise.
        watched: pairs whose error decides which epoch is the best; None or empty trains all epochs.
    """
    batch = settings.batch or batch_for(len(rated))
    schedule = Schedule(
        epochs=epochs,
        patience=settings.patience,
        batch=batch,
        learning_rate=settings.learning_rate,
        final_rate=settings.final_rate,
        horizon=settings.epochs,
        optimizer=settings.optimizer,
        lazy=is_lazy(model, settings, batch),
    )
    validate = validation(model, watched, settings.loss) if watched is not None and len(watched) else None
    return train_epochs(
        model, rated.examples, losses, schedule, seed, validate, noise=noise(schedule.batch), checkpoints=checkpoints
    )


def is_lazy(model: keras.Model, settings: PairSettings, batch: int) -> bool:
    """Whether only gathered rows are updated: as set, or where that is the cheaper way and the loss names no others."""
    if settings.updates != "auto":
        return settings.updates == "lazy"
    tables = [weight for weight in model.trainable_variables if weight.path.endswith("embeddings")]
    pays = sum(table.shape[0] for table in tables) > LAZY_COST * batch * len(tables)
    return pays and settings.optimizer == "adam" and settings.table_reg == 0


def error_of(loss: str) -> Callable[[Any, Any], Any]:
    """Mean squared or mean absolute error of two (n,) tensors."""
    if loss == "mae":
        return lambda rating, predicted: ops.mean(ops.absolute(rating - predicted))
    return lambda rating, predicted: ops.mean(ops.square(rating - predicted))


def validation(model: keras.Model, watched: Pairs, loss: str) -> Callable[[], float]:
    """The error on the watched pairs at the model's present weights, summed in float64."""
    inputs = (ops.convert_to_tensor(watched.user), ops.convert_to_tensor(watched.item))

    def validation_loss() -> float:
        error = ops.convert_to_numpy(model(inputs)).astype(np.float64) - watched.rating
        return float(np.mean(np.abs(error) if loss == "mae" else error**2))

    return validation_loss


def validation_slice(n: int, fraction: float, seed: int) -> NDArray[np.bool_]:
    """(n,) bool, True for `fraction` of the examples, drawn at random."""
    mask = np.zeros(n, dtype=bool)
    mask[np.random.default_rng(seed).permutation(n)[: int(fraction * n)]] = True
    return mask


def batch_for(n: int) -> int:
    """Power of two nearest to n / 85, within 256 to 8,192: some 60 to 120 steps an epoch."""
    return int(2 ** np.clip(np.round(np.log2(max(n, 1) / 85)), 8, 13))
