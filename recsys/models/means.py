"""The means-only rater: overall, item and user means. The prediction that every other rater must beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.config import Section
from recsys.models.base import FitContext, Rater, check_bounds, load_arrays, save_arrays
from recsys.prepare.means import user_means
from recsys.prepare.training_set import TrainingSet


class MeansSettings(Section):
    """Means have nothing to set."""


@dataclass(frozen=True, eq=False)
class MeansOnly(Rater):
    """predicted rating = overall mean + item mean + user mean, by `recsys.prepare.means`.

    An unknown user or item adds 0, so that this rater can say something of any pair: it stands in where another cannot.

    Attributes:
        items: (n_columns,) int32, the items with a mean.
        overall: () float64.
        item: (n_items,) float64; 0 where no rating was learned.
        user: (n_users,) float64; 0 where no rating was learned.
    """

    name: ClassVar[str] = "means"
    summary: ClassVar[str] = "overall mean + item mean + user mean; the prediction to beat"
    settings: ClassVar[type[Section]] = MeansSettings

    items: NDArray[np.int32]
    overall: NDArray[np.float64]
    item: NDArray[np.float64]
    user: NDArray[np.float64]

    @classmethod
    def fit(
        cls,
        training_set: TrainingSet,
        settings: MeansSettings,
        context: FitContext,
        found: Mapping[str, Any] | None = None,
    ) -> Self:
        """Take the means of the training set."""
        means = training_set.means
        item = np.zeros(training_set.n_items)
        item[training_set.items] = means.item
        return cls(training_set.items, np.asarray(means.overall), item, means.user)

    def predict(self, user_index: NDArray[np.int32], item_index: NDArray[np.int32]) -> NDArray[np.float32]:
        """(n,) float32, never NaN."""
        check_bounds(user_index, len(self.user), "user_index")
        check_bounds(item_index, len(self.item), "item_index")
        user = np.where(user_index >= 0, self.user[user_index], 0.0)
        item = np.where(item_index >= 0, self.item[item_index], 0.0)
        return (self.overall + user + item).astype(np.float32)

    def predict_new(self, ratings: csr_matrix, columns: NDArray[np.int32]) -> NDArray[np.float32]:
        """(n, k) float32, never NaN: the user means are learned from the people's own ratings, an unknown adds 0."""
        item = self.item[self.items]
        user = user_means(ratings, float(self.overall), item)
        return (self.overall + user[:, None] + np.where(columns >= 0, item[columns], 0.0)).astype(np.float32)

    def _save_state(self, folder: Path) -> dict[str, Any]:
        save_arrays(folder, items=self.items, overall=self.overall, item=self.item, user=self.user)
        return {}

    @classmethod
    def _load_state(cls, folder: Path, record: Mapping[str, Any]) -> Self:
        return cls(**load_arrays(folder))
