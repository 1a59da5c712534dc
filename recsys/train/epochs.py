"""Whole epochs inside one compiled function, with early stopping on a validation slice and the best weights kept.

Importing this module imports TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from recsys.train.checkpoint import Arrays, Checkpoints
from recsys.train.examples import Examples, InMemory
from recsys.train.lazy import LAZY
from recsys.train.loop import Trained, run_epochs

Losses = Callable[..., tuple[Any, Any]]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train.

    Attributes:
        epochs: at most.
        patience: epochs without a better validation loss before stopping.
        batch: examples a step.
        learning_rate: at the first step; it falls on a line to `final_rate` times that at the last step of `horizon`.
        horizon: epochs over which the rate falls; more than `epochs` when a shorter training is repeated.
        optimizer: Keras' name of it.
        lazy: update only the rows of a table that a step gathers, where `recsys.train.lazy` has the optimizer.
    """

    epochs: int
    patience: int
    batch: int
    learning_rate: float
    final_rate: float
    horizon: int
    optimizer: str = "adam"
    lazy: bool = False


def train_epochs(
    model: keras.Model,
    examples: Examples | Sequence[NDArray],
    losses: Losses,
    schedule: Schedule,
    seed: int,
    validate: Callable[[], float] | None,
    *,
    noise: Sequence[tuple[int, ...]] = (),
    checkpoints: Path | None = None,
) -> Trained:
    """Train a model.

    Args:
        model: its weights are changed, and are the best epoch's in the end.
        examples: arrays of equal length, a row an example, or examples in parts; a part is held as tensors.
        losses: from a batch of those columns, and the step's noise, to (the loss to minimise, the part reported).
        seed: of the shuffles and of the noise; with the epoch's number it decides both.
        validate: the validation loss at the present weights; None trains all epochs.
        noise: shapes of uniform draws in [0, 1) that a step takes, for dropout and masks. They are made outside of
            the step: Keras' own generator inside XLA took 117 ms for 62,500 numbers, this 1 ms.
        checkpoints: a folder for the training's state; a training that finds its own there goes on from it.

    Raises:
        UsageError: the loss is no longer a finite number.
    """
    source: Examples = examples if hasattr(examples, "sizes") else InMemory(tuple(examples))  # type: ignore[assignment, arg-type]
    training = _Training(model, source, losses, schedule, seed, noise)
    kept = Checkpoints(checkpoints, _key(source, schedule, seed, validate is not None, model))
    return run_epochs(training, schedule.epochs, schedule.patience, validate, kept)


class _Training:
    """A model with its optimiser and the compiled pass over one part of the examples."""

    def __init__(
        self, model: keras.Model, source: Examples, losses: Losses, schedule: Schedule, seed: int, noise: Any
    ) -> None:
        self.model, self.source, self.schedule, self.seed = model, source, schedule, seed
        self.sizes = source.sizes
        self.steps = [math.ceil(size / schedule.batch) for size in self.sizes]
        self.optimizer = _optimizer(schedule, sum(self.steps))
        self.optimizer.build(model.trainable_variables)
        self.run = _compiled_pass(model, losses, self.optimizer, schedule.batch, noise)
        self.tensors = None if len(self.sizes) > 1 else self._part(0)

    def epoch(self, number: int) -> float:
        """One pass over all examples in an order of the epoch's own; returns the mean reported loss of its steps."""
        draw = np.random.default_rng([self.seed, number])
        total = 0.0
        for part in draw.permutation(len(self.sizes)):
            # The last batch is filled up from the front of the shuffle, so that every step has one shape.
            order = np.resize(
                draw.permutation(self.sizes[part]).astype(np.int32), self.steps[part] * self.schedule.batch
            )
            tensors = self._part(int(part)) if self.tensors is None else self.tensors
            key = tf.random.experimental.stateless_fold_in([self.seed % 2**31, number], int(part))
            total += float(self.run(tf.constant(order), key, *tensors))
        return total / sum(self.steps)

    @property
    def name(self) -> str:
        """The Keras model's."""
        return str(self.model.name)

    def weights(self) -> Arrays:
        """In the model's order."""
        return list(self.model.get_weights())

    def optimizer_state(self) -> Arrays:
        """In the optimiser's order."""
        return [np.asarray(variable) for variable in self.optimizer.variables]

    def restore(self, weights: Arrays, optimizer_state: Arrays | None) -> None:
        """Put the model, and the optimiser, where a state has them."""
        self.model.set_weights(list(weights))
        if optimizer_state is not None:
            for variable, value in zip(self.optimizer.variables, optimizer_state, strict=True):
                variable.assign(value)

    def _part(self, number: int) -> list[Any]:
        return [tf.constant(column) for column in self.source.part(number)]


def _optimizer(schedule: Schedule, steps: int) -> keras.optimizers.Optimizer:
    rate = keras.optimizers.schedules.PolynomialDecay(
        schedule.learning_rate, schedule.horizon * steps, schedule.learning_rate * schedule.final_rate
    )
    if schedule.lazy and schedule.optimizer in LAZY:
        return LAZY[schedule.optimizer](rate)
    return keras.optimizers.get({"class_name": schedule.optimizer, "config": {"learning_rate": rate}})


def _compiled_pass(
    model: keras.Model, losses: Losses, optimizer: Any, batch: int, noise: Sequence[tuple[int, ...]]
) -> Callable[..., Any]:
    weights = model.trainable_variables

    def gradients(take: Any, draws: list[Any], *columns: Any) -> Any:
        rows = [tf.gather(column, take) for column in columns]
        with tf.GradientTape() as tape:
            minimised, reported = losses(*rows, *draws)
        return reported, tape.gradient(minimised, [weight.value for weight in weights])

    # XLA fuses the update of the tables into one pass over them; on two cores that halves the time of a step.
    # The loop is written out: AutoGraph, which rewrites Python loops, depends on the version of Python.
    @tf.function(jit_compile=True, autograph=False)
    def dense_step(take: Any, draws: list[Any], *columns: Any) -> Any:
        reported, found = gradients(take, draws, *columns)
        optimizer.apply([tf.convert_to_tensor(gradient) for gradient in found], weights)
        return reported

    compiled_gradients = tf.function(gradients, jit_compile=True, autograph=False)

    @tf.function(autograph=False)
    def lazy_step(take: Any, draws: list[Any], *columns: Any) -> Any:
        reported, found = compiled_gradients(take, draws, *columns)
        optimizer.apply(found, weights)
        return reported

    step = lazy_step if isinstance(optimizer, tuple(LAZY.values())) else dense_step

    @tf.function(autograph=False)
    def run(order: Any, key: Any, *columns: Any) -> Any:
        batches = tf.reshape(order, [-1, batch])

        def draws(place: Any) -> list[Any]:
            own = tf.random.experimental.stateless_fold_in(key, place)
            keys = [tf.random.experimental.stateless_fold_in(own, number) for number in range(len(noise))]
            return [
                tf.random.stateless_uniform(shape, one, alg="philox") for shape, one in zip(noise, keys, strict=True)
            ]

        start = (tf.constant(0), tf.constant(0.0))
        _, total = tf.while_loop(
            lambda place, _: place < tf.shape(batches)[0],
            lambda place, total: (place + 1, total + step(batches[place], draws(place), *columns)),
            start,
            parallel_iterations=1,
        )
        return total

    return run


def _key(source: Examples, schedule: Schedule, seed: int, validated: bool, model: keras.Model) -> str:
    """What a state must agree with to be gone on from; the run's folder already stands for its data."""
    shapes = [tuple(weight.shape) for weight in model.weights]
    parts = [source.sizes, asdict(schedule), seed, validated, model.name, shapes]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
