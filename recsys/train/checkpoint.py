"""The state of a training after an epoch, on disk, so that a killed training goes on where it was."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recsys.errors import UsageError

EVERY_S = 20.0  # between two states; a training of seconds is sooner done again than a state of it written

Arrays = Sequence[NDArray]


@dataclass(frozen=True, eq=False)
class State:
    """Everything that the next epoch depends on; shuffles and dropout follow from the seed and the epoch's number.

    Attributes:
        weights, optimizer: variables in their own order.
        best_weights: weights of the best epoch so far; empty where none is known.
        history: figures of each epoch done.
        best, best_epoch: lowest validation loss, and its epoch.
    """

    weights: Arrays
    optimizer: Arrays
    best_weights: Arrays
    history: list[dict[str, float]]
    best: float
    best_epoch: int


@dataclass
class Checkpoints:
    """At most one state, in a folder of the training's own; None keeps nothing.

    Attributes:
        key: what the training was given; a state of another one is not taken up.
    """

    folder: Path | None
    key: str = ""
    _written: float = field(default_factory=time.monotonic)

    def save(self, make_state: Callable[[], State]) -> None:
        """Write the state that `make_state()` returns, if it is time; a crash leaves the one before."""
        if self.folder is None or time.monotonic() - self._written < EVERY_S:
            return
        state = make_state()
        self.folder.mkdir(parents=True, exist_ok=True)
        groups = {"weights": state.weights, "optimizer": state.optimizer, "best_weights": state.best_weights}
        arrays = {f"{name}-{place:04d}": value for name, group in groups.items() for place, value in enumerate(group)}
        record = {"key": self.key, "history": state.history, "best": state.best, "best_epoch": state.best_epoch}
        fresh = self.folder / "state.new.npz"
        np.savez(fresh, record=np.array(json.dumps(record)), allow_pickle=False, **arrays)  # type: ignore[arg-type]
        os.replace(fresh, self._file)
        self._written = time.monotonic()

    def load(self) -> State | None:
        """The state to go on from; None where there is none of this training.

        Raises:
            UsageError: there is one and it cannot be read.
        """
        if self.folder is None or not self._file.exists():
            return None
        try:
            with np.load(self._file, allow_pickle=False) as stored:
                record = json.loads(str(stored["record"]))
                weights, optimizer, best_weights = (
                    [stored[name] for name in sorted(stored.files) if name.startswith(f"{group}-")]
                    for group in ("weights", "optimizer", "best_weights")
                )
        except (OSError, ValueError, KeyError) as error:
            raise UsageError(
                f"The training state {self._file} cannot be read.",
                expected="a state as this program writes it",
                found=str(error),
                todo="remove it; the training then starts anew",
            ) from error
        if record["key"] != self.key:
            return None
        return State(weights, optimizer, best_weights, record["history"], record["best"], record["best_epoch"])

    @property
    def _file(self) -> Path:
        assert self.folder is not None
        return self.folder / "state.npz"
