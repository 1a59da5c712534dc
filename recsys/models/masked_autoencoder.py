"""A masked autoencoder on preferences: it learns to find hidden preferences of a user from the others.

TensorFlow is imported when it is fitted, saved or loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.sparse import csr_matrix

from recsys.compute import MIB, check_budget, one_blas_thread, thread_count
from recsys.config import ComputeConfig, Section
from recsys.models.base import (
    Embeddings,
    FitContext,
    Histories,
    Ranker,
    Rater,
    TopN,
    load_arrays,
    predicted_pairs,
    save_arrays,
)
from recsys.models.keras_backend import load_keras, load_network, save_network, start_training, weights_of
from recsys.prepare.means import Means, user_means
from recsys.prepare.training_set import TrainingSet
from recsys.score.cosine import nearest_by_cosine
from recsys.score.dense import BLOCK, all_scores, dense_top_n, in_blocks
from recsys.score.selection import NOTHING
from recsys.train.settings import Optimizer, TrainingSettings

Array = NDArray[np.float64]

ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0.0))),
}


class MaskedAutoencoderSettings(TrainingSettings):
    """Settings of the masked autoencoder; the defaults are the tutorial's."""

    layers: tuple[int, ...] = Field((25,), min_length=1, description="units of the encoder's layers, the code last")
    activation: Literal["linear", "relu", "tanh", "sigmoid", "elu"] = Field("linear", description="of the layers")
    biases: bool = Field(False, description="whether layers have biases")
    hide: float = Field(0.2, gt=0, lt=1, description="share of a user's preferences hidden in a step")
    hidden_weight: float = Field(0.8, ge=0, le=1, description="weight of the hidden preferences in the loss")
    epochs: int = Field(100, ge=1, description="at most")
    patience: int = Field(3, ge=1, description="epochs without a better validation loss before stopping")
    optimizer: Optimizer = Field("adadelta", description="Keras' optimiser of that name")
    learning_rate: float = Field(1.0, gt=0, description="the optimiser's, at the first step; Adadelta's own scale is 1")
    final_rate: float = Field(1.0, gt=0, le=1, description="share of the learning rate left at the last epoch")
    batch: int = Field(125, ge=1, description="users a step")
    validation_fraction: float = Field(0.1, ge=0, lt=1, description="share of the users kept for early stopping")


@dataclass(frozen=True, eq=False)
class MaskedAutoencoder(Ranker, Rater):
    """preferences of all items = decoder(encoder(a user's preferences, 0 where there is none))

    A preference is a rating less overall, item and user mean (`recsys.prepare.means`). As a ranker it orders by
    preference; as a rater it adds the means again. A new user's mean is learned from that user's own ratings.

    Attributes:
        items: (n_columns,) int32.
        column_of: (n_items,) int32, -1 for items without a rating in training.
        overall: () float64, and item_mean: (n_columns,) float64, in rating units.
        user_mean: (n_users,) float64.
        codes: (n_users, code) float32, what the encoder makes of each user.
        learned: (n_users,) bool, users with a rating in training.
        weights: the network's float32 arrays by path, in Keras' order.
        record: the network's constructor arguments.
        best_epoch: epochs a refit trains.
        epochs: figures by epoch.
    """

    name: ClassVar[str] = "masked_autoencoder"
    summary: ClassVar[str] = "autoencoder on preferences that learns to find the hidden ones, Keras on TensorFlow"
    settings: ClassVar[type[Section]] = MaskedAutoencoderSettings

    items: NDArray[np.int32]
    column_of: NDArray[np.int32]
    overall: float
    item_mean: Array
    user_mean: Array
    codes: NDArray[np.float32]
    learned: NDArray[np.bool_]
    weights: dict[str, NDArray[np.float32]]
    record: dict[str, Any]
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
        settings: MaskedAutoencoderSettings,
        context: FitContext,
        found: Mapping[str, Any] | None = None,
    ) -> Self:
        """Train on all users but a validation slice, and keep the weights that find the slice's hidden ones best.

        With `found` (epochs) train on all users, for that many epochs.

        Raises:
            UsageError: the dense rows do not fit the memory budget, or the loss is no longer finite.
        """
        check_memory(training_set, context.compute)
        start_training(context.seed, context.compute)
        from recsys.train.masked import train_masked  # imports TensorFlow

        means, preferences = training_set.means, training_set.preferences
        network, trained = train_masked(
            preferences[training_set.trained], settings, found["epochs"] if found else settings.epochs,
            0.0 if found else settings.validation_fraction, context.seed, context.checkpoints,
        )  # fmt: skip
        without_codes = cls(
            training_set.items, training_set.learned_column_of, means.overall,
            means.item, means.user, np.zeros((0, 0), np.float32), training_set.trained, weights_of(network),
            network.settings, trained.best_epoch, trained.history,
        )  # fmt: skip
        return replace(without_codes, codes=without_codes.encode(preferences).astype(np.float32))

    def encode(self, preferences: csr_matrix) -> Array:
        """(n, code) float64 of (n, n_columns) CSR preferences; a row depends on that row only."""
        kernels = self._layers("encoder")
        # SciPy adds the rows of the first kernel one by one, so that the sum does not depend on other rows.
        x = np.asarray(preferences.astype(np.float64) @ kernels[0][0].astype(np.float64)) + kernels[0][1]
        x = ACTIVATIONS[self.record["activation"]](x)
        return self._through(x, kernels[1:], self.record["activation"])

    def decode(self, codes: NDArray) -> Array:
        """(n, n_columns) float64 preferences of (n, code)."""
        return self._through(codes.astype(np.float64), self._layers("decoder"), "linear")

    def _through(self, x: Array, layers: list[tuple[NDArray, NDArray]], last: str) -> Array:
        for place, (kernel, bias) in enumerate(layers):
            activation = last if place == len(layers) - 1 else self.record["activation"]
            with one_blas_thread():
                x = ACTIVATIONS[activation](x @ kernel.astype(np.float64) + bias)
        return x

    def _layers(self, part: str) -> list[tuple[NDArray, NDArray]]:
        """(kernel, bias) of the layers of `encoder` or `decoder`."""
        arrays = list(self.weights.values())
        each, n_layers = (2 if self.record["biases"] else 1), len(self.record["layers"])
        pairs = [tuple(arrays[start : start + each]) for start in range(0, len(arrays), each)]
        chosen = pairs[:n_layers] if part == "encoder" else pairs[n_layers:]
        return [(pair[0], pair[1] if each == 2 else np.zeros(pair[0].shape[1], np.float32)) for pair in chosen]

    def preferences_of(self, ratings: csr_matrix) -> csr_matrix:
        """(n, n_columns) CSR preferences of (n, n_columns) CSR ratings, by the stored means and each user's own."""
        user_mean = user_means(ratings, self.overall, self.item_mean)
        return Means(self.overall, self.item_mean, user_mean).preferences(ratings)

    def score(self, histories: Histories) -> NDArray[np.float32]:
        """(n_users, n_columns) preferences."""
        return all_scores(self._score(histories.ratings), histories.ratings.shape[0], len(self.items))

    def top_n(self, histories: Histories, n: int, compute: ComputeConfig) -> TopN:
        """The n columns with the highest preference."""
        score, threads = self._score(histories.ratings), thread_count(compute)
        return TopN(*dense_top_n(score, histories.seen, n, threads, allowed=histories.allowed))

    def _score(self, ratings: csr_matrix) -> Callable[[NDArray[np.int64]], Array]:
        codes, known = self.encode(self.preferences_of(ratings)), self._known
        return lambda rows: np.where(known, self.decode(codes[rows]), -np.inf)

    @property
    def _known(self) -> NDArray[np.bool_]:
        return self.column_of[self.items] >= 0

    def because(self, histories: Histories, columns: NDArray[np.int32], compute: ComputeConfig) -> NDArray[np.int32]:
        """The rated column that adds most to each listed one: exact where the network is linear, else none."""
        reasons = np.full(columns.shape, NOTHING, dtype=np.int32)
        if self.record["activation"] != "linear" or self.record["biases"]:
            return reasons
        preferences = self.preferences_of(histories.ratings)
        codes = self._through(np.eye(len(self.items)), self._layers("encoder"), "linear")
        items = self._through(np.eye(codes.shape[1]), self._layers("decoder"), "linear")
        for user in np.flatnonzero(np.diff(preferences.indptr)):
            mine = slice(preferences.indptr[user], preferences.indptr[user + 1])
            rated = preferences.indices[mine]
            added = np.einsum(
                "j,jk,kn->jn", preferences.data[mine].astype(np.float64), codes[rated], items[:, columns[user]]
            )
            reasons[user] = np.where(columns[user] >= 0, rated[np.argmax(added, axis=0)], NOTHING)
        return reasons

    def predict(self, user_index: NDArray[np.int32], item_index: NDArray[np.int32]) -> NDArray[np.float32]:
        """(n,) float32; NaN for a user or item without a rating in training."""
        return predicted_pairs(self._rating, user_index, item_index, self.learned, self.column_of)

    def _rating(self, user: NDArray[np.int32], column: NDArray[np.int32]) -> Array:
        mean = self.overall + self.item_mean[column] + self.user_mean[user]
        return mean + self._decoded(self.codes, user, column)

    def predict_new(self, ratings: csr_matrix, columns: NDArray[np.int32]) -> NDArray[np.float32]:
        """(n, k) ratings of people by their own ratings; NaN for columns without a rating in training."""
        codes = self.encode(self.preferences_of(ratings)).astype(np.float32)
        user = np.repeat(np.arange(len(columns)), columns.shape[1])
        column = np.maximum(columns.ravel(), 0)
        mean = self.overall + self.item_mean[column] + user_means(ratings, self.overall, self.item_mean)[user]
        predicted = (mean + self._decoded(codes, user, column)).astype(np.float32).reshape(columns.shape)
        return np.where((columns >= 0) & self._known[columns], predicted, np.float32(np.nan))

    def _decoded(self, codes: NDArray[np.float32], user: NDArray, column: NDArray) -> Array:
        """(n,) preferences of pairs: each user among them is decoded once."""
        found = np.empty(len(user))
        known, place = np.unique(user, return_inverse=True)
        order = np.argsort(place, kind="stable")
        edges = np.searchsorted(place[order], np.arange(0, len(known) + BLOCK, BLOCK))

        def take(start: int, block: Array) -> None:
            mine = order[edges[start // BLOCK] : edges[start // BLOCK + 1]]
            found[mine] = block[place[mine] - start, column[mine]]

        in_blocks(lambda rows: self.decode(codes[known[rows]]), len(known), take)
        return found

    def embeddings(self) -> Embeddings:
        """Users: their codes. Items: what the decoder's last layer multiplies."""
        return Embeddings(self.codes, self.learned, self._item_vectors, self._known)

    @property
    def _item_vectors(self) -> NDArray[np.float32]:
        return np.ascontiguousarray(self._layers("decoder")[-1][0].T)

    def similar(self, n: int, compute: ComputeConfig) -> TopN:
        """The nearest columns by cosine in the decoder's space."""
        return TopN(*nearest_by_cosine(self._item_vectors, self._known, n, thread_count(compute)))

    def found(self) -> dict[str, Any]:
        """epochs: after how many the validation slice's hidden preferences were found best."""
        return {"epochs": self.best_epoch}

    def history(self) -> list[dict[str, float]]:
        """The weighted loss (loss, validation_loss) by epoch, in squared rating units."""
        return self.epochs

    def _save_state(self, folder: Path) -> dict[str, Any]:
        save_network(folder, "Autoencoder", self.record, self.weights)
        save_arrays(
            folder, items=self.items, column_of=self.column_of, overall=np.asarray(self.overall),
            item_mean=self.item_mean, user_mean=self.user_mean, codes=self.codes, learned=self.learned,
        )  # fmt: skip
        return {}

    @classmethod
    def _load_state(cls, folder: Path, record: Mapping[str, Any]) -> Self:
        weights, settings = load_network(folder)
        arrays: dict[str, Any] = dict(load_arrays(folder))
        return cls(
            **{**arrays, "overall": float(arrays["overall"])}, weights=weights, record=settings,
            best_epoch=record["found"]["epochs"],
        )  # fmt: skip


def check_memory(training_set: TrainingSet, compute: ComputeConfig) -> None:
    """Refuse before the work starts what would not fit: dense rows of all users, 4 bytes each for value and role."""
    need = 8 * training_set.n_users * len(training_set.items) / MIB
    check_budget(
        need,
        compute,
        f"masked_autoencoder needs {need:,.0f} MiB for {training_set.n_users:,} users x "
        f"{len(training_set.items):,} items.",
        found=f"{need:,.0f} MiB",
        todo="keep fewer items (--top-items), or raise --set compute.memory_mib",
    )
