"""The rater: matrix factorisation with biases, trained in compiled epochs. TensorFlow is imported when it is fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_matrix

from recsys.compute import one_blas_thread
from recsys.config import Section, Tunable
from recsys.models.base import Embeddings, FitContext, Rater, check_bounds, load_arrays, save_arrays
from recsys.models.keras_backend import load_keras, start_training
from recsys.prepare.means import rows_of
from recsys.prepare.training_set import TrainingSet


class BiasedMFSettings(Section):
    """Settings of the biased matrix factorisation; the defaults were found on validation slices of MovieLens data."""

    embedding_size: Annotated[int, Tunable(8, 256, log=True)] = Field(
        64, ge=1, description="factors of a user and of an item"
    )
    epochs: int = Field(10, ge=1, description="at most; the learning rate falls over that many")
    patience: int = Field(2, ge=1, description="epochs without a better validation loss before stopping")
    learning_rate: Annotated[float, Tunable(1e-3, 2e-2, log=True)] = Field(
        5e-3, gt=0, description="Adam's, at the first step"
    )
    final_rate: float = Field(0.05, gt=0, le=1, description="share of the learning rate left at the last epoch")
    reg: Annotated[float, Tunable(0.01, 0.3, log=True)] = Field(
        0.075, ge=0, description="L2 of the factors of each rating's user and item, for average counts"
    )
    reg_power: Annotated[float, Tunable(0, 1)] = Field(
        0.5, ge=0, description="L2 is reg * (count / mean count) ** -power: rare rows are held tighter"
    )
    bias_reg: Annotated[float, Tunable(1e-3, 0.3, log=True)] = Field(
        0.03, ge=0, description="L2 of the biases, a rating"
    )
    damping: Annotated[float, Tunable(0, 50)] = Field(
        10.0, ge=0, description="biases start at means damped by that many ratings of the overall mean"
    )
    init_scale: float = Field(0.01, gt=0, description="standard deviation of the initial factors")
    batch: int = Field(
        0, ge=0, description="ratings a step; 0: the power of two that makes about 85 steps an epoch, 256 to 8,192"
    )
    validation_fraction: float = Field(0.05, ge=0, lt=1, description="share of the training ratings for early stopping")


@dataclass(frozen=True)
class Ridge:
    """The L2 that training puts on a user: `factors` for one with `mean_count` ratings, by count as `power` says."""

    bias: float
    factors: float
    power: float
    mean_count: float

    def penalty(self, count: int, size: int) -> NDArray[np.float64]:
        """(1 + size,) what the squares of a user's bias and factors cost beside the squared errors of all ratings.

        The training loss is a mean over ratings, and each carries the L2 of its user: so that counts `count` times.
        """
        factors = self.factors * (count / self.mean_count) ** -self.power
        return count * np.concatenate(([self.bias], np.full(size, factors)))


@dataclass(frozen=True, eq=False)
class BiasedMF(Rater):
    """predicted rating = overall + user bias + item bias + user factors . item factors

    Attributes:
        items: (n_columns,) int32.
        overall: () float32.
        user_bias: (n_users,) float32.     item_bias: (n_columns,) float32.
        user_factors: (n_users, size) float32.     item_factors: (n_columns, size) float32.
        learned: (n_users,) bool, users with a rating in training.
        column_of: (n_items,) int32, -1 for items without a rating in training.
        ridge: the L2 of a user in training, for people who come later.
        best_epoch: epochs a refit trains.
    """

    name: ClassVar[str] = "biased_mf"
    summary: ClassVar[str] = (
        "matrix factorisation with biases, Keras on TensorFlow, early stopping on a validation slice"
    )
    settings: ClassVar[type[Section]] = BiasedMFSettings

    items: NDArray[np.int32]
    overall: float
    user_bias: NDArray[np.float32]
    item_bias: NDArray[np.float32]
    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]
    learned: NDArray[np.bool_]
    column_of: NDArray[np.int32]
    ridge: Ridge
    best_epoch: int
    epochs: list[dict[str, float]] = field(default_factory=list)

    @classmethod
    def warm_up(cls) -> None:
        """Import TensorFlow."""
        load_keras()

    @classmethod
    def fit(
        cls,
        training_set: TrainingSet,
        settings: BiasedMFSettings,
        context: FitContext,
        found: Mapping[str, Any] | None = None,
    ) -> Self:
        """Train on all but a validation slice, and keep the weights that predict the slice best.

        With `found` (epochs) train on everything, for that many epochs.

        Raises:
            UsageError: the loss is no longer finite.
        """
        epochs = found["epochs"] if found else settings.epochs
        held_back = 0.0 if found else settings.validation_fraction
        start_training(context.seed, context.compute)
        from recsys.train.factors import train_biased_factors  # imports TensorFlow

        ratings = training_set.learned
        model, trained = train_biased_factors(
            rows_of(ratings).astype(np.int32), ratings.indices, ratings.data, ratings.shape,
            settings, epochs=epochs, held_back=held_back, seed=context.seed,
        )  # fmt: skip
        learned_column = np.bincount(ratings.indices, minlength=ratings.shape[1]) > 0
        column_of = np.where(
            (training_set.column_of >= 0) & learned_column[training_set.column_of], training_set.column_of, np.int32(-1)
        )
        mean_count = (ratings.nnz - int(held_back * ratings.nnz)) / ratings.shape[0]
        ridge = Ridge(settings.bias_reg, settings.reg, settings.reg_power, mean_count)
        return cls._of(model, training_set.items, training_set.trained, column_of, ridge, trained)

    @classmethod
    def _of(cls, model: Any, items: Any, learned: Any, column_of: Any, ridge: Ridge, trained: Any) -> Self:
        user, item, user_bias, item_bias = (
            np.asarray(layer.get_weights()[0])
            for layer in (model.user_factors, model.item_factors, model.user_bias, model.item_bias)
        )
        return cls(
            items=items,
            overall=float(model.start["overall"]),
            user_bias=user_bias[:, 0],
            item_bias=item_bias[:, 0],
            user_factors=user,
            item_factors=item,
            learned=learned,
            column_of=column_of,
            ridge=ridge,
            best_epoch=trained.best_epoch,
            epochs=trained.history,
        )

    def predict(self, user_index: NDArray[np.int32], item_index: NDArray[np.int32]) -> NDArray[np.float32]:
        """(n,) float32; NaN for a user or item without a rating in training."""
        check_bounds(user_index, len(self.learned), "user_index")
        check_bounds(item_index, len(self.column_of), "item_index")
        column = self.column_of[item_index]
        known = (item_index >= 0) & (column >= 0) & (user_index >= 0) & self.learned[user_index]
        user, item = user_index[known], column[known]
        predicted = np.full(len(user_index), np.nan, dtype=np.float32)
        product = np.einsum("nk,nk->n", self.user_factors[user], self.item_factors[item], dtype=np.float64)
        predicted[known] = self.overall + self.user_bias[user] + self.item_bias[item] + product
        return predicted

    def embeddings(self) -> Embeddings:
        """The factors, biases left out."""
        return Embeddings(self.user_factors, self.learned, self.item_factors, self.column_of[self.items] >= 0)

    def found(self) -> dict[str, Any]:
        """epochs: after how many the validation slice was predicted best."""
        return {"epochs": self.best_epoch}

    def predict_new(self, ratings: csr_matrix, columns: NDArray[np.int32]) -> NDArray[np.float32]:
        """(n, k) float32; NaN for an item, or a person, without a rating that was learned from.

        A person's bias b and factors p minimise the training loss with all else held fast: with y what a rating r of
        item i leaves beyond the overall mean and the item's bias,

            sum over the ratings (y - b - p . q(i))^2 + penalty . (b, p)^2,   penalty as `Ridge` has it,

        a ridge regression of y on (1, q(i)): the user's half-step of alternating least squares (Koren, Bell and
        Volinsky 2009). Training starts elsewhere and stops early: a trained user's factors are near, not equal.
        """
        learned = self.column_of[self.items] >= 0
        design = np.hstack([np.ones((len(self.items), 1)), self.item_factors.astype(np.float64)])
        offset = self.overall + self.item_bias.astype(np.float64)
        predicted = np.full(columns.shape, np.nan, dtype=np.float32)
        with one_blas_thread():
            for row, (start, stop) in enumerate(pairwise(ratings.indptr)):
                known = learned[ratings.indices[start:stop]]
                rated, value = ratings.indices[start:stop][known], ratings.data[start:stop][known]
                asked = (columns[row] >= 0) & learned[columns[row]] & known.any()
                person = self._half_step(design[rated], value - offset[rated]) if known.any() else design[0]
                predicted[row, asked] = offset[columns[row, asked]] + design[columns[row, asked]] @ person
        return predicted

    def _half_step(self, design: NDArray[np.float64], rest: NDArray[np.float64]) -> NDArray[np.float64]:
        """(1 + size,) a person's bias and factors."""
        gram, moment = design.T @ design, design.T @ rest
        gram[np.diag_indices_from(gram)] += self.ridge.penalty(len(design), design.shape[1] - 1)
        if self.ridge.factors == 0:  # then few ratings have many solutions: the shortest
            return np.asarray(np.linalg.lstsq(gram, moment)[0], dtype=np.float64)
        return np.asarray(np.linalg.solve(gram, moment), dtype=np.float64)

    def history(self) -> list[dict[str, float]]:
        """Mean squared errors (loss, validation_loss) by epoch, in squared rating units."""
        return self.epochs

    def _save_state(self, folder: Path) -> dict[str, Any]:
        load_keras()
        from recsys.models.matrix_factorisation import BiasedFactors

        shape = (len(self.user_bias), len(self.item_bias), self.user_factors.shape[1])
        model = BiasedFactors(*shape, overall=self.overall, init_scale=1.0, seed=0)
        for layer, values in (
            (model.user_factors, self.user_factors),
            (model.item_factors, self.item_factors),
            (model.user_bias, self.user_bias[:, None]),
            (model.item_bias, self.item_bias[:, None]),
        ):
            layer.set_weights([values])
        model.save(folder / "model.keras")
        save_arrays(folder, items=self.items, learned=self.learned, column_of=self.column_of)
        return {"ridge": asdict(self.ridge)}

    @classmethod
    def _load_state(cls, folder: Path, record: Mapping[str, Any]) -> Self:
        keras = load_keras()
        from recsys.models import matrix_factorisation  # noqa: F401  (registers the class with Keras)
        from recsys.train.epochs import Trained

        model = keras.saving.load_model(folder / "model.keras", compile=False)
        trained = Trained(record["found"]["epochs"], [])
        return cls._of(model, **load_arrays(folder), ridge=Ridge(**record["ridge"]), trained=trained)
