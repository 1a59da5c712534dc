"""Training of Keras models of (user, item) pairs. Importing this module imports TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from recsys.train.epochs import Losses, Schedule, train_epochs
from recsys.train.lazy import LAZY
from recsys.train.loop import Trained
from recsys.train.rated import Pairs, PairShards

if TYPE_CHECKING:
    from recsys.models.keras_pairs import PairSettings

LAZY_COST = 3  # a row that is gathered, summed and scattered costs as much as three that are passed over


def train_pairs(
    model: keras.Model,
    rated: Pairs | PairShards,
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
    return pays and settings.optimizer in LAZY and settings.table_reg == 0


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


def batch_for(n: int) -> int:
    """Power of two nearest to n / 85, within 256 to 8,192: some 60 to 120 steps an epoch."""
    return int(2 ** np.clip(np.round(np.log2(max(n, 1) / 85)), 8, 13))
