"""What the Keras models of (user, item) pairs share: tables, training and saving."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recsys.models.base import FitContext, load_arrays, save_arrays
from recsys.models.keras_backend import load_keras, load_network, save_network, start_training, weights_of
from recsys.models.pairs import PairModel
from recsys.prepare.training_set import TrainingSet
from recsys.train.rated import Rated, split_pairs
from recsys.train.settings import EmbeddingSettings, Initializer, TrainingSettings

Weights = dict[str, NDArray[np.float32]]


class PairSettings(TrainingSettings, EmbeddingSettings):
    """Settings of all models of pairs."""

    initializer: Initializer = Field("normal", description="Keras' initialiser of the tables")
    init_scale: float = Field(0.01, gt=0, description="standard deviation of `normal`, bound of `uniform`")
    table_reg: float = Field(0.0, ge=0, description="L2 of the whole tables at each step, as Keras' regularisers count")
    updates: Literal["auto", "dense", "lazy"] = Field(
        "auto",
        description="lazy: adam and adamax leave rows at rest that a step does not gather; auto: where that pays",
    )
    rows: Literal["kept", "all"] = Field("kept", description="a row for each item kept, or for each of the input")
    spare_rows: int = Field(0, ge=0, le=1, description="1: a row more in both tables, as ids counted from 1 leave")


@dataclass(frozen=True, eq=False, kw_only=True)
class KerasPairModel(PairModel):
    """A model of (user, item) pairs that Keras trains and keeps.

    Attributes:
        weights: the network's float32 arrays by path, in Keras' order.
        record: the network's constructor arguments.
        trained_with: the settings of the training, and `mean_count`, its ratings a user.
    """

    weights: Weights
    record: dict[str, Any]
    trained_with: dict[str, Any]

    network: ClassVar[str]  # the Keras class in recsys.models.networks
    user_table: ClassVar[str]  # paths of the two tables
    item_table: ClassVar[str]

    @classmethod
    def warm_up(cls) -> None:
        """Import TensorFlow."""
        load_keras()

    @classmethod
    @abstractmethod
    def build(cls, shape: tuple[int, int], rated: Rated, settings: Any, seed: int) -> tuple[Any, Any]:
        """The network for (rows of users, rows of items), and its losses.

        Args:
            rated: what it will be trained on.
        """

    @classmethod
    def fit(
        cls, training_set: TrainingSet, settings: Any, context: FitContext, found: Mapping[str, Any] | None = None
    ) -> Self:
        """Train on all but a validation slice, and keep the weights that predict the slice best.

        With `found` (epochs) train on everything, for that many epochs.

        Raises:
            UsageError: the loss is no longer finite.
        """
        start_training(context.seed, context.compute)
        from recsys.train.pairs import train_pairs  # imports TensorFlow

        shape, rows = table_rows(training_set, settings)
        ratings, row_of_column = training_set.learned, rows[training_set.items]
        slice_of = 0.0 if found else settings.validation_fraction
        memory, folder = context.compute.memory_mib, context.checkpoints
        with split_pairs(ratings, row_of_column, slice_of, context.seed, memory, folder) as (rated, watched):
            network, losses = cls.build(shape, rated, settings, context.seed)
            trained = train_pairs(
                network, rated, losses, settings,
                epochs=found["epochs"] if found else settings.epochs, seed=context.seed, watched=watched,
                noise=network.noise_shapes, checkpoints=context.checkpoints,
            )  # fmt: skip
            trained_with = {**settings.model_dump(), "mean_count": len(rated) / training_set.n_users}
        return cls(
            items=training_set.items, row_of=np.where(training_set.learned_column_of >= 0, rows, np.int32(-1)),
            learned=training_set.trained, weights=weights_of(network), record=network.settings,
            trained_with=trained_with, best_epoch=trained.best_epoch, epochs=trained.history,
        )  # fmt: skip

    @property
    def vectors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The weights of both tables."""
        return self.weights[self.user_table], self.weights[self.item_table]

    def _save_state(self, folder: Path) -> dict[str, Any]:
        save_network(folder, self.network, self.record, self.weights)
        save_arrays(folder, items=self.items, learned=self.learned, row_of=self.row_of)
        return {"trained_with": self.trained_with}

    @classmethod
    def _load_state(cls, folder: Path, record: Mapping[str, Any]) -> Self:
        weights, settings = load_network(folder)
        arrays: dict[str, Any] = dict(load_arrays(folder))
        return cls(
            **arrays, weights=weights, record=settings, trained_with=record["trained_with"],
            best_epoch=record["found"]["epochs"],
        )  # fmt: skip


def table_rows(training_set: TrainingSet, settings: PairSettings) -> tuple[tuple[int, int], NDArray[np.int32]]:
    """Rows of the tables of users and items, and (n_items,) the row of each item_index, -1 for none."""
    if settings.rows == "all":
        rows = np.arange(training_set.n_items, dtype=np.int32)
        n_item_rows = training_set.n_items
    else:
        rows, n_item_rows = training_set.column_of, len(training_set.items)
    return (training_set.n_users + settings.spare_rows, n_item_rows + settings.spare_rows), rows


def with_table_reg(error: Callable[..., Any], tables: list[Any], strength: float) -> Callable[..., Any]:
    """Losses of a batch: the error, plus the L2 of the whole tables."""
    from keras import ops

    def losses(*batch: Any) -> tuple[Any, Any]:
        minimised, reported = error(*batch)
        if strength:
            minimised = minimised + strength * sum(ops.sum(ops.square(table.embeddings)) for table in tables)
        return minimised, reported

    return losses
