"""Whole epochs inside one compiled function, with early stopping on a validation slice and the best weights kept.

Importing this module imports TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from recsys.errors import UsageError
from recsys.progress import track

LEAST_GAIN = 1e-5  # an epoch that improves the validation loss by less does not count as better


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        epochs: at most.
        patience: epochs without a better validation loss before stopping.
        batch: ratings a step.
        learning_rate: at the first step; it falls on a line to `final_rate` times that at the last step of `horizon`.
        horizon: epochs over which the rate falls; more than `epochs` when a shorter training is repeated.
    """

    epochs: int
    patience: int
    batch: int
    learning_rate: float
    final_rate: float
    horizon: int


@dataclass(frozen=True)
class Trained:
    """What a training leaves beside the weights."""

    best_epoch: int
    history: list[dict[str, float]]


def train_epochs(
    model: keras.Model,
    columns: Sequence[NDArray],
    losses: Callable[..., tuple[Any, Any]],
    schedule: Schedule,
    seed: int,
    validate: Callable[[], float] | None,
) -> Trained:
    """Train with Adam.

    Args:
        model: its weights are changed, and are the best epoch's in the end.
        columns: arrays of equal length, a row an example; they are held as tensors.
        losses: from a batch of those columns to (the loss to minimise, the part of it that is reported).
        seed: of the shuffles.
        validate: the validation loss at the present weights; None trains all epochs.

    Raises:
        UsageError: the loss is no longer a finite number.
    """
    n = len(columns[0])
    steps = math.ceil(n / schedule.batch)
    epoch = _compiled_epoch(model, columns, losses, schedule, steps)
    shuffles = np.random.default_rng(seed)
    history: list[dict[str, float]] = []
    best, best_epoch, best_weights = math.inf, schedule.epochs, None
    with track(f"train {model.name}", schedule.epochs, "epochs") as bar:
        for number in range(1, schedule.epochs + 1):
            # The last batch is filled up from the front of the shuffle, so that every step has one shape.
            order = np.resize(shuffles.permutation(n).astype(np.int32), steps * schedule.batch)
            figures = {"epoch": float(number), "loss": float(epoch(tf.constant(order)))}
            if validate is not None:
                figures["validation_loss"] = validate()
            history.append(figures)
            _refuse_non_finite(figures)
            bar.advance(1)
            if validate is None:
                continue
            if figures["validation_loss"] < best - LEAST_GAIN:
                best, best_epoch, best_weights = figures["validation_loss"], number, model.get_weights()
            elif number - best_epoch >= schedule.patience:
                break
    if best_weights is not None:
        model.set_weights(best_weights)
    return Trained(best_epoch, history)


def _compiled_epoch(
    model: keras.Model, columns: Sequence[NDArray], losses: Callable[..., Any], schedule: Schedule, steps: int
) -> Callable[[Any], Any]:
    weights = model.trainable_variables
    rate = keras.optimizers.schedules.PolynomialDecay(
        schedule.learning_rate, schedule.horizon * steps, schedule.learning_rate * schedule.final_rate
    )
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build(weights)
    tensors = [tf.constant(column) for column in columns]

    # XLA fuses the update of the tables into one pass over them; on two cores that halves the time of a step.
    # The loop is written out: AutoGraph, which rewrites Python loops, depends on the version of Python.
    @tf.function(jit_compile=True, autograph=False)
    def step(take: Any) -> Any:
        batch = [tf.gather(tensor, take) for tensor in tensors]
        with tf.GradientTape() as tape:
            minimised, reported = losses(*batch)
        gradients = tape.gradient(minimised, [weight.value for weight in weights])
        optimizer.apply([tf.convert_to_tensor(gradient) for gradient in gradients], weights)
        return reported

    @tf.function(input_signature=[tf.TensorSpec([steps * schedule.batch], tf.int32)], autograph=False)
    def epoch(order: Any) -> Any:
        batches = tf.reshape(order, [steps, schedule.batch])
        start = (tf.constant(0), tf.constant(0.0))
        _, total = tf.while_loop(
            lambda place, _: place < steps,
            lambda place, total: (place + 1, total + step(batches[place])),
            start,
            parallel_iterations=1,
        )
        return total / steps

    return epoch


def _refuse_non_finite(figures: dict[str, float]) -> None:
    if not all(math.isfinite(value) for value in figures.values()):
        raise UsageError(
            "Training diverged: the loss is no longer a finite number.",
            expected="a finite loss",
            found=str(figures),
            todo="lower models.<name>.learning_rate, or raise its regularisation",
        )
