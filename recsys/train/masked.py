"""Training of the masked autoencoder. Importing this module imports TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.models.masked_autoencoder import MaskedAutoencoderSettings
from recsys.models.networks import Autoencoder, HiddenAndShown
from recsys.train.epochs import Losses, Schedule, train_epochs
from recsys.train.loop import Trained
from recsys.train.rated import validation_slice

Dense = tuple[NDArray[np.float32], NDArray[np.float32]]


def train_masked(
    preferences: csr_matrix,
    settings: MaskedAutoencoderSettings,
    epochs: int,
    held_back: float,
    seed: int,
    checkpoints: Path | None,
) -> tuple[Autoencoder, Trained]:
    """Train on (n_users, n_columns) preferences; `held_back` of the users, drawn at random, stop the training early.

    Returns:
        The network at its best epoch, and the history of the weighted loss.
    """
    network = Autoencoder(
        preferences.shape[1], settings.layers, activation=settings.activation, biases=settings.biases, seed=seed,
        name="masked_autoencoder",
    )  # fmt: skip
    watched = validation_slice(preferences.shape[0], held_back, seed)
    schedule = Schedule(
        epochs=epochs, patience=settings.patience, batch=settings.batch, learning_rate=settings.learning_rate,
        final_rate=settings.final_rate, horizon=settings.epochs, optimizer=settings.optimizer,
    )  # fmt: skip
    validate = _validation(network, dense_rows(preferences[watched]), settings, seed) if watched.any() else None
    rows = dense_rows(preferences[~watched])
    noise = [(settings.batch, preferences.shape[1])]
    losses = _losses(network, settings)
    return network, train_epochs(network, rows, losses, schedule, seed, validate, noise=noise, checkpoints=checkpoints)


def dense_rows(preferences: csr_matrix) -> Dense:
    """(n, n_columns) float32 of the preferences, 0 where there is none, and 1 where there is one."""
    known = preferences.copy()
    known.data = np.ones_like(known.data)
    return preferences.toarray(), known.toarray()


def roles(known: Any, draw: Any, hide: float) -> Any:
    """0 unknown, 1 shown, 2 hidden: a known preference is hidden where its uniform draw is below `hide`."""
    return known + known * ops.cast(draw < hide, known.dtype)


def _weighted(network: Any, loss: HiddenAndShown, preferences: Any, role: Any) -> Any:
    shown = preferences * ops.cast(role == 1.0, preferences.dtype)
    return loss(ops.stack([preferences, role], axis=-1), network(shown))


def _losses(network: Any, settings: MaskedAutoencoderSettings) -> Losses:
    loss = HiddenAndShown(settings.hidden_weight)

    def losses(preferences: Any, known: Any, draw: Any) -> tuple[Any, Any]:
        found = _weighted(network, loss, preferences, roles(known, draw, settings.hide))
        return found, found

    return losses


def _validation(network: Any, rows: Dense, settings: MaskedAutoencoderSettings, seed: int) -> Callable[[], float]:
    """The weighted loss on users never trained on, always with the same preferences hidden."""
    loss = HiddenAndShown(settings.hidden_weight)
    draw = np.random.default_rng(seed).random(rows[1].shape, dtype=np.float32)
    role = ops.convert_to_tensor(roles(rows[1], draw, settings.hide))
    preferences = ops.convert_to_tensor(rows[0])
    return lambda: float(_weighted(network, loss, preferences, role))
