"""What the models of (user, item) pairs share: who is known, ranking by predicted rating, and the items' vectors."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.compute import thread_count
from recsys.config import ComputeConfig
from recsys.models.base import Embeddings, Histories, TopN, predicted_pairs
from recsys.models.by_rating import RanksByRating
from recsys.score.cosine import nearest_by_cosine


@dataclass(frozen=True, eq=False, kw_only=True)
class PairModel(RanksByRating):
    """A model of (user, item) pairs with a table of users and a table of items, trained in epochs.

    Attributes:
        items: (n_columns,) int32.
        row_of: (n_items,) int32, the table's row of each item; -1 for items without a rating in training.
        learned: (n_users,) bool, users with a rating in training.
        best_epoch: epochs a refit trains.
        epochs: figures by epoch.
    """

    items: NDArray[np.int32]
    row_of: NDArray[np.int32]
    learned: NDArray[np.bool_]
    best_epoch: int
    epochs: list[dict[str, float]] = field(default_factory=list)

    @property
    @abstractmethod
    def vectors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The tables of users and of items, a row each; rows beyond the users' may follow."""

    @abstractmethod
    def rating(self, user: NDArray[np.int32], row: NDArray[np.int32]) -> NDArray[np.float64]:
        """(n,) ratings of rows of both tables, by the model's formula in float64."""

    @abstractmethod
    def ratings(self, user: NDArray[np.int32]) -> NDArray[np.float64]:
        """(n, item rows) ratings of users with all rows of the item table."""

    def predict(self, user_index: NDArray[np.int32], item_index: NDArray[np.int32]) -> NDArray[np.float32]:
        """(n,) float32; NaN for a user or item without a rating in training."""
        return predicted_pairs(self.rating, user_index, item_index, self.learned, self.row_of)

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

    def grid(self, histories: Histories, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(len(rows), n_columns) predicted ratings."""
        user = histories.user_index[rows]
        row = self.row_of[self.items]
        scores = np.where(row >= 0, self.ratings(user)[:, row], -np.inf)
        new = np.flatnonzero(~self._is_learned(user))
        scores[new] = 0.0
        if self.folds_in and len(new):
            folded = new[np.diff(histories.ratings.indptr)[rows[new]] > 0]
            columns = np.broadcast_to(np.arange(len(row), dtype=np.int32), (len(folded), len(row)))
            predicted = self.predict_new(histories.ratings[rows[folded]], columns)
            scores[folded] = np.where(np.isnan(predicted), -np.inf, predicted)
        return scores

    def embeddings(self) -> Embeddings:
        """The rows of both tables."""
        users = self.vectors[0][: len(self.learned)]
        return Embeddings(users, self.learned, self.item_vectors, self.row_of[self.items] >= 0)

    @property
    def item_vectors(self) -> NDArray[np.float32]:
        """(n_columns, size) float32, rows of the item table; of no meaning where `row_of` is -1."""
        return self.vectors[1][self.row_of[self.items]]

    def similar(self, n: int, compute: ComputeConfig) -> TopN:
        """The nearest columns by cosine in the item table."""
        return TopN(*nearest_by_cosine(self.item_vectors, self.row_of[self.items] >= 0, n, thread_count(compute)))

    def found(self) -> dict[str, Any]:
        """epochs: after how many the validation slice was predicted best."""
        return {"epochs": self.best_epoch}

    def history(self) -> list[dict[str, float]]:
        """Errors (loss, validation_loss) by epoch, squared or absolute as the loss is, in rating units."""
        return self.epochs


def in_span(x: NDArray[np.float64], span: tuple[float, float] | None) -> NDArray[np.float64]:
    """x, or a sigmoid of it between the lowest and the highest rating."""
    return x if span is None else span[0] + (span[1] - span[0]) / (1.0 + np.exp(-x))
