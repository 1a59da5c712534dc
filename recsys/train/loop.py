"""Epoch after epoch until the validation loss rises, the best weights kept, the state on disk. No TensorFlow here."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from recsys.errors import UsageError
from recsys.progress import track
from recsys.train.checkpoint import Arrays, Checkpoints, State

log = logging.getLogger("recsys")

LEAST_GAIN = 1e-5  # an epoch that improves the validation loss by a smaller share does not count as better


@dataclass(frozen=True)
class Trained:
    """What a training leaves beside the weights."""

    best_epoch: int
    history: list[dict[str, float]]


class Trainee(Protocol):
    """A model under training."""

    @property
    def name(self) -> str:
        """For people."""

    def epoch(self, number: int) -> float:
        """Pass over all examples once, in an order that follows from the number; returns the mean loss reported."""

    def weights(self) -> Arrays:
        """A copy of the weights."""

    def optimizer_state(self) -> Arrays:
        """What else the next epoch depends on."""

    def restore(self, weights: Arrays, optimizer_state: Arrays | None) -> None:
        """Put the weights, and the rest where it is given, in place."""


def run_epochs(
    trainee: Trainee, epochs: int, patience: int, validate: Callable[[], float] | None, checkpoints: Checkpoints
) -> Trained:
    """Train; in the end the weights are the best epoch's.

    Args:
        epochs: at most.
        patience: epochs without a better validation loss before stopping.
        validate: the validation loss at the present weights; None trains all epochs.
        checkpoints: a training that finds its own state there goes on from it.

    Raises:
        UsageError: the loss is no longer a finite number.
    """
    state = checkpoints.load()
    if state is not None:
        log.info("train: %s goes on after epoch %d", trainee.name, len(state.history))
        trainee.restore(state.weights, state.optimizer)
    progress = _Progress(epochs, patience, state)
    with track(f"train {trainee.name}", epochs, "epochs") as bar:
        bar.advance(len(progress.history))
        while progress.goes_on():
            number = len(progress.history) + 1
            figures = {"epoch": float(number), "loss": trainee.epoch(number)}
            if validate is not None:
                figures["validation_loss"] = validate()
            _refuse_non_finite(figures)
            progress.add(figures, trainee)
            checkpoints.save(lambda: progress.state(trainee))
            bar.advance(1)
    if progress.best_weights:
        trainee.restore(progress.best_weights, None)
    return Trained(progress.best_epoch, progress.history)


class _Progress:
    """What has been reached, and whether to go on."""

    def __init__(self, epochs: int, patience: int, state: State | None) -> None:
        self.epochs, self.patience = epochs, patience
        self.history = state.history if state else []
        self.best = state.best if state else math.inf
        self.best_epoch = state.best_epoch if state else epochs
        self.best_weights: Arrays = state.best_weights if state else []

    def goes_on(self) -> bool:
        done = len(self.history)
        return done < self.epochs and not (self.best_weights and done - self.best_epoch >= self.patience)

    def add(self, figures: dict[str, float], trainee: Trainee) -> None:
        self.history.append(figures)
        if figures.get("validation_loss", math.inf) < self.best * (1 - LEAST_GAIN):
            self.best, self.best_epoch = figures["validation_loss"], len(self.history)
            self.best_weights = trainee.weights()

    def state(self, trainee: Trainee) -> State:
        weights, rest = trainee.weights(), trainee.optimizer_state()
        return State(weights, rest, self.best_weights, self.history, self.best, self.best_epoch)


def _refuse_non_finite(figures: dict[str, float]) -> None:
    if not all(math.isfinite(value) for value in figures.values()):
        raise UsageError(
            "Training diverged: the loss is no longer a finite number.",
            expected="a finite loss",
            found=str(figures),
            todo="lower models.<name>.learning_rate, or raise its regularisation",
        )
