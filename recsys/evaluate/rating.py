"""Rating metrics of a rater on held-out ratings.

rmse = sqrt(mean (predicted - rating)^2), mae = mean |predicted - rating|, over all held-out ratings, predictions
clipped to the scale. Where the rater cannot say, the means-only rater stands in, so that every rating counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FORMULAS = {
    "rmse": "square root of the mean squared error over all held-out ratings, predictions clipped to the scale",
    "mae": "mean absolute error over all held-out ratings, predictions clipped to the scale",
}


class Predicts(Protocol):
    """What errors are measured of: a rater, or one behind other indices."""

    def predict(self, user_index: NDArray[np.int32], item_index: NDArray[np.int32], /) -> NDArray[np.float32]:
        """(n,) predicted ratings, NaN where it cannot say."""


@dataclass(frozen=True, eq=False)
class Errors:
    """Errors summed by user.

    Attributes:
        squared, absolute: (n_users,) float64, sums over a user's held-out ratings.
        count: (n_users,) float64, held-out ratings of each user.
        stood_in: held-out ratings for which the rater could not say.
    """

    squared: NDArray[np.float64]
    absolute: NDArray[np.float64]
    count: NDArray[np.float64]
    stood_in: int

    @property
    def rmse(self) -> float:
        """Over all ratings, not over users."""
        return float(np.sqrt(self.squared.sum() / self.count.sum()))

    @property
    def mae(self) -> float:
        """Over all ratings, not over users."""
        return float(self.absolute.sum() / self.count.sum())


Holdout = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]  # user_index, item_index, rating


def predictions(
    rater: Predicts, fallback: Predicts, holdout: Holdout, scale: tuple[float, float]
) -> tuple[NDArray[np.float64], int]:
    """(n,) predicted ratings of the hold-out, clipped to the scale, and for how many the fallback stood in."""
    user, item, _ = holdout
    predicted = rater.predict(user, item)
    missing = np.isnan(predicted)
    if missing.any():
        predicted = np.where(missing, fallback.predict(user, item), predicted)
    return np.clip(predicted.astype(np.float64), *scale), int(missing.sum())


def errors_by_user(rater: Predicts, fallback: Predicts, holdout: Holdout, scale: tuple[float, float]) -> Errors:
    """Predict the hold-out and sum the errors of each user with a held-out rating."""
    return sum_by_user(holdout, *predictions(rater, fallback, holdout, scale))


def sum_by_user(holdout: Holdout, predicted: NDArray[np.float64], stood_in: int) -> Errors:
    """Sum the errors of each user with a held-out rating."""
    user, _, rating = holdout
    error = predicted - rating
    _, place, count = np.unique(user, return_inverse=True, return_counts=True)
    return Errors(
        np.bincount(place, weights=error**2).astype(np.float64),
        np.bincount(place, weights=np.abs(error)).astype(np.float64),
        count.astype(np.float64),
        stood_in,
    )
