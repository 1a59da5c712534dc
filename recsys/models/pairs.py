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
from recsys.score.engine import top_n
from recsys.score.formula import Formula, all_scores, pair_scores
from recsys.score.selection import empty_lists


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
    def formula_of(self, users: NDArray[Any] | slice) -> Formula:
        """The ratings of these rows of the table of users and all rows of the other, in float64."""

    def predict(self, user_index: NDArray[np.int32], item_index: NDArray[np.int32]) -> NDArray[np.float32]:
        """(n,) float32; NaN for a user or item without a rating in training."""
        return predicted_pairs(self._rated, user_index, item_index, self.learned, self.row_of)

    def _rated(self, user: NDArray[np.int32], row: NDArray[np.int32]) -> NDArray[np.float32]:
        """Of pairs of rows. Neighbouring users, as a stage asks for them, cost as many rows, not the whole table."""
        if not len(user):
            return np.empty(0, np.float32)
        first = int(user.min())
        return pair_scores(self.formula_of(slice(first, int(user.max()) + 1)), user - np.int32(first), row)

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
            allowed=self._known if histories.allowed is None else self._known & histories.allowed,
        )  # fmt: skip
        others = super().top_n(histories.of(~learned), n, compute)
        columns[~learned], scores[~learned] = others.columns, others.scores
        return TopN(columns, scores)

    def _formula_of(self, histories: Histories, users: NDArray[np.bool_]) -> Formula:
        return self.formula_of(histories.user_index[users]).over(self.row_of[self.items])

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
        users = self.vectors[0][: len(self.learned)]
        return Embeddings(users, self.learned, self.item_vectors, self._known)

    @property
    def item_vectors(self) -> NDArray[np.float32]:
        """(n_columns, size) float32, rows of the item table; of no meaning where `row_of` is -1."""
        return self.vectors[1][self.row_of[self.items]]

    def similar(self, n: int, compute: ComputeConfig) -> TopN:
        """The nearest columns by cosine in the item table."""
        return TopN(*nearest_by_cosine(self.item_vectors, self._known, n, thread_count(compute)))

    def found(self) -> dict[str, Any]:
        """epochs: after how many the validation slice was predicted best."""
        return {"epochs": self.best_epoch}

    def history(self) -> list[dict[str, float]]:
        """Errors (loss, validation_loss) by epoch, squared or absolute as the loss is, in rating units."""
        return self.epochs
