"""Training of the biased factors. Importing this module imports TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from recsys.models.matrix_factorisation import BiasedFactors
from recsys.train.epochs import Schedule, Trained, train_epochs

if TYPE_CHECKING:
    from recsys.models.biased_mf import BiasedMFSettings


def train_biased_factors(
    user: NDArray[np.int32],
    column: NDArray[np.int32],
    rating: NDArray[np.float32],
    shape: tuple[int, int],
    settings: BiasedMFSettings,
    *,
    epochs: int,
    held_back: float,
    seed: int,
) -> tuple[BiasedFactors, Trained]:
    """Train on (n_ratings,) triples; `held_back` of them, drawn at random, stop the training early.

    Args:
        shape: (n_users, n_columns).

    Returns:
        The model at its best epoch, and the history.
    """
    valid = _validation_slice(len(rating), held_back, seed)
    train = (user[~valid], column[~valid], rating[~valid])
    overall, user_bias, item_bias = damped_means(*train, shape, settings.damping)
    model = BiasedFactors(*shape, settings.embedding_size, overall, settings.init_scale, seed, name="biased_mf")
    model.user_bias.set_weights([user_bias[:, None]])
    model.item_bias.set_weights([item_bias[:, None]])
    schedule = Schedule(
        epochs=epochs,
        patience=settings.patience,
        batch=settings.batch or _batch_for(len(train[0])),
        learning_rate=settings.learning_rate,
        final_rate=settings.final_rate,
        horizon=settings.epochs,
    )
    losses = _losses(model, _strength(train[0], shape[0], settings), _strength(train[1], shape[1], settings), settings)
    validate = _validation(model, user[valid], column[valid], rating[valid]) if valid.any() else None
    return model, train_epochs(model, train, losses, schedule, seed, validate)


def damped_means(
    user: NDArray[np.int32],
    column: NDArray[np.int32],
    rating: NDArray[np.float32],
    shape: tuple[int, int],
    damping: float,
) -> tuple[float, NDArray[np.float32], NDArray[np.float32]]:
    """Overall mean, then user and item biases: sum of what the ones before leave / (count + damping)."""
    overall = float(rating.mean(dtype=np.float64))

    def biases(index: NDArray[np.int32], rest: NDArray[np.float64], size: int) -> NDArray[np.float64]:
        return np.bincount(index, rest, size) / np.maximum(np.bincount(index, minlength=size) + damping, 1.0)

    rest = rating.astype(np.float64) - overall
    item_bias = biases(column, rest, shape[1])
    user_bias = biases(user, rest - item_bias[column], shape[0])
    return overall, user_bias.astype(np.float32), item_bias.astype(np.float32)


def _losses(model: BiasedFactors, user_reg: NDArray[np.float32], item_reg: NDArray[np.float32], settings: Any) -> Any:
    """Mean squared error, and the same plus the L2 of the rows that the batch touches."""
    user_strength, item_strength = ops.convert_to_tensor(user_reg), ops.convert_to_tensor(item_reg)

    def losses(user: Any, column: Any, rating: Any) -> tuple[Any, Any]:
        user_row, item_row, user_bias, item_bias = model.rows(user, column)
        predicted = model.start["overall"] + user_bias + item_bias + ops.sum(user_row * item_row, axis=-1)
        error = ops.mean(ops.square(rating - predicted))
        penalty = (
            ops.take(user_strength, user) * ops.sum(ops.square(user_row), axis=-1)
            + ops.take(item_strength, column) * ops.sum(ops.square(item_row), axis=-1)
            + settings.bias_reg * (ops.square(user_bias) + ops.square(item_bias))
        )
        return error + ops.mean(penalty), error

    return losses


def _strength(index: NDArray[np.int32], size: int, settings: BiasedMFSettings) -> NDArray[np.float32]:
    """(size,) L2 of each row: reg * (count / mean count) ** -reg_power."""
    count = np.maximum(np.bincount(index, minlength=size), 1)
    return (settings.reg * (count * (size / len(index))) ** -settings.reg_power).astype(np.float32)


def _validation(
    model: BiasedFactors, user: NDArray[np.int32], column: NDArray[np.int32], rating: NDArray[np.float32]
) -> Any:
    pairs = (ops.convert_to_tensor(user), ops.convert_to_tensor(column))

    def validation_loss() -> float:
        predicted = keras.ops.convert_to_numpy(model(pairs))
        return float(np.mean((predicted.astype(np.float64) - rating) ** 2))

    return validation_loss


def _validation_slice(n: int, fraction: float, seed: int) -> NDArray[np.bool_]:
    mask = np.zeros(n, dtype=bool)
    mask[np.random.default_rng(seed).permutation(n)[: int(fraction * n)]] = True
    return mask


def _batch_for(n: int) -> int:
    """Power of two nearest to n / 85, within 256 to 8,192: some 60 to 120 steps an epoch."""
    return int(2 ** np.clip(np.round(np.log2(max(n, 1) / 85)), 8, 13))
