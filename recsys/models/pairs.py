"""What the Keras models of (user, item) pairs share: tables, training, saving, and ranking by predicted rating."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from recsys.compute import thread_count
from recsys.config import ComputeConfig, Tunable
from recsys.models.base import Embeddings, FitContext, Histories, TopN, check_bounds, load_arrays, save_arrays
from recsys.models.by_rating import RanksByRating
from recsys.models.keras_backend import load_keras, load_network, save_network, start_training, weights_of
from recsys.prepare.training_set import TrainingSet
from recsys.score.cosine import nearest_by_cosine
from recsys.score.engine import top_n
from recsys.score.formula import Formula, all_scores, pair_scores
from recsys.score.selection import empty_lists
from recsys.train.settings import TrainingSettings

if TYPE_CHECKING:
    from recsys.train.pairs import Rated

Weights = dict[str, NDArray[np.float32]]


class PairSettings(TrainingSettings):
    """Settings of all models of pairs."""

    embedding_size: Annotated[int, Tunable(8, 256, log=True)] = Field(
        64, ge=1, description="numbers that describe a user, and an item"
    )
    initializer: Literal["normal", "uniform", "he_normal", "glorot_uniform"] = Field(
        "normal", description="Keras' initialiser of the tables"
    )
    init_scale: float = Field(0.01, gt=0, description="standard deviation of `normal`, bound of `uniform`")
    table_reg: float = Field(0.0, ge=0, description="L2 of the whole tables at each step, as Keras' regularisers count")
    updates: Literal["auto", "dense", "lazy"] = Field(
        "auto", description="lazy: adam updates only the rows a step gathers; auto: so where tables have many more rows"
    )
    rows: Literal["kept", "all"] = Field("kept", description="a row for each item kept, or for each of the input")
    spare_rows: int = Field(0, ge=0, le=1, description="1: a row more in both tables, as ids counted from 1 leave")


@dataclass(frozen=True, eq=False)
class PairModel(RanksByRating):
    """A model of (user, item) pairs with a table of users and a table of items.

    Attributes:
        items: (n_columns,) int32.
        row_of: (n_items,) int32, the table's row of each item; -1 for items without a rating in training.
        learned: (n_users,) bool, users with a rating in training.
        weights: the network's float32 arrays by path, in Keras' order.
        record: the network's constructor arguments.
        trained_with: the settings of the training, and `mean_count`, its ratings a user.
        best_epoch: epochs a refit trains.
        epochs: figures by epoch.
    """

    items: NDArray[np.int32]
    row_of: NDArray[np.int32]
    learned: NDArray[np.bool_]
    weights: Weights
    record: dict[str, Any]
    trained_with: dict[str, Any]
    best_epoch: int
    epochs: list[dict[str, float]] = field(default_factory=list)

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

    @cached_property
    @abstractmethod
    def formula(self) -> Formula:
        """The ratings of all rows of both tables, as the network has them, in float64."""

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
        from recsys.train.pairs import split_pairs, train_pairs  # imports TensorFlow

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
            training_set.items, learned_rows(training_set, rows), training_set.trained, weights_of(network),
            network.settings, trained_with, trained.best_epoch, trained.history,
        )  # fmt: skip

    def predict(self, user_index: NDArray[np.int32], item_index: NDArray[np.int32]) -> NDArray[np.float32]:
        """(n,) float32; NaN for a user or item without a rating in training."""
        check_bounds(user_index, len(self.learned), "user_index")
        check_bounds(item_index, len(self.row_of), "item_index")
        row = self.row_of[item_index]
        known = (item_index >= 0) & (row >= 0) & (user_index >= 0) & self.learned[user_index]
        predicted = np.full(len(user_index), np.nan, dtype=np.float32)
        predicted[known] = pair_scores(self.formula, user_index[known], row[known])
        return predicted

    def can_score(self, histories: Histories) -> NDArray[np.bool_]:
        """Users with a rating in training, and whoever has rated something where the model folds in."""
        rated: NDArray[np.bool_] = np.diff(histories.ratings.indptr) > 0
        return self._is_learned(histories.user_index) | (rated & self.folds_in)

    @property
    def folds_in(self) -> bool:
        """Whether `predict_new` can say something."""
        return False

    def _is_learned(self, user_index: NDArray[np.int32]) -> NDArray[np.bool_]:
        learned: NDArray[np.bool_] = (user_index >= 0) & self.learned[user_index]
        return learned

    def score(self, histories: Histories) -> NDArray[np.float32]:
        """(n_users, n_columns) predicted ratings; as `grid` where the model has not learned the user."""
        learned = self._is_learned(histories.user_index)
        scores = np.empty((len(learned), len(self.items)), np.float32)
        scores[learned] = np.where(self._known, all_scores(self._formula_of(histories, learned), 1), -np.inf)
        scores[~learned] = super().score(histories.of(~learned))
        return scores

    def top_n(self, histories: Histories, n: int, compute: ComputeConfig) -> TopN:
        """The n columns with the highest predicted rating."""
        learned = self._is_learned(histories.user_index)
        columns, scores = empty_lists(len(learned), n)
        columns[learned], scores[learned] = top_n(
            self._formula_of(histories, learned), histories.of(learned).seen, n, thread_count(compute),
            allowed=self._known,
        )  # fmt: skip
        others = super().top_n(histories.of(~learned), n, compute)
        columns[~learned], scores[~learned] = others.columns, others.scores
        return TopN(columns, scores)

    def _formula_of(self, histories: Histories, users: NDArray[np.bool_]) -> Formula:
        return self.formula.of(histories.user_index[users]).over(self.row_of[self.items])

    @property
    def _known(self) -> NDArray[np.bool_]:
        known: NDArray[np.bool_] = self.row_of[self.items] >= 0
        return known

    def grid(self, histories: Histories, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(len(rows), n_columns) predicted ratings of users who were not learned."""
        scores = np.zeros((len(rows), len(self.items)))
        if self.folds_in:
            folded = np.flatnonzero(np.diff(histories.ratings.indptr)[rows] > 0)
            columns = np.broadcast_to(np.arange(len(self.items), dtype=np.int32), (len(folded), len(self.items)))
            predicted = self.predict_new(histories.ratings[rows[folded]], columns)
            scores[folded] = np.where(np.isnan(predicted), -np.inf, predicted)
        return scores

    def embeddings(self) -> Embeddings:
        """The rows of both tables."""
        users = self.weights[self.user_table][: len(self.learned)]
        return Embeddings(users, self.learned, self.item_vectors, self._known)

    @property
    def item_vectors(self) -> NDArray[np.float32]:
        """(n_columns, embedding_size) float32, rows of the item table; of no meaning where `row_of` is -1."""
        return self.weights[self.item_table][self.row_of[self.items]]

    def similar(self, n: int, compute: ComputeConfig) -> TopN:
        """The nearest columns by cosine in the item table."""
        return TopN(*nearest_by_cosine(self.item_vectors, self._known, n, thread_count(compute)))

    def found(self) -> dict[str, Any]:
        """epochs: after how many the validation slice was predicted best."""
        return {"epochs": self.best_epoch}

    def history(self) -> list[dict[str, float]]:
        """Errors (loss, validation_loss) by epoch, squared or absolute as `loss` says, in rating units."""
        return self.epochs

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


def learned_rows(training_set: TrainingSet, rows: NDArray[np.int32]) -> NDArray[np.int32]:
    """(n_items,) the row of each item_index with a rating that was learned from, -1 for the others."""
    count = np.bincount(training_set.learned.indices, minlength=len(training_set.items))
    column = training_set.column_of
    return np.where((column >= 0) & (count[column] > 0), rows, np.int32(-1))


def with_table_reg(error: Callable[..., Any], tables: list[Any], strength: float) -> Callable[..., Any]:
    """Losses of a batch: the error, plus the L2 of the whole tables."""
    from keras import ops

    def losses(*batch: Any) -> tuple[Any, Any]:
        minimised, reported = error(*batch)
        if strength:
            minimised = minimised + strength * sum(ops.sum(ops.square(table.embeddings)) for table in tables)
        return minimised, reported

    return losses
