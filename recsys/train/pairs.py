"""Training of Keras models of (user, item) pairs. Importing this module imports TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from recsys.train.epochs import Losses, Schedule, Trained, train_epochs
from recsys.train.examples import Examples, InMemory
from recsys.train.settings import TrainingSettings


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


def train_pairs(
    model: keras.Model,
    examples: Examples | Pairs,
    losses: Losses,
    settings: TrainingSettings,
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
    source = InMemory((examples.user, examples.item, examples.rating)) if isinstance(examples, Pairs) else examples
    schedule = Schedule(
        epochs=epochs,
        patience=settings.patience,
        batch=settings.batch or batch_for(sum(source.sizes)),
        learning_rate=settings.learning_rate,
        final_rate=settings.final_rate,
        horizon=settings.epochs,
        optimizer=settings.optimizer,
    )
    validate = validation(model, watched, settings.loss) if watched is not None and len(watched) else None
    return train_epochs(
        model, source, losses, schedule, seed, validate, noise=noise(schedule.batch), checkpoints=checkpoints
    )


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
