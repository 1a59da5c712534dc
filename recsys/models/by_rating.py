"""Raters that can rank too: by the rating they predict.

Such a list is what the tutorials show. By ranking metrics it is far below the popularity list: two different jobs.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recsys.compute import thread_count
from recsys.config import ComputeConfig
from recsys.models.base import Histories, Ranker, Rater, TopN
from recsys.score.dense import all_scores, dense_top_n


class RanksByRating(Ranker, Rater):
    """A rater whose lists are ordered by predicted rating, not clipped."""

    @abstractmethod
    def grid(self, histories: Histories, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(len(rows), n_columns) predicted ratings of some rows of `histories`.

        -inf where an item cannot be predicted; 0 for a user of whom the model has nothing to say. A row's values
        depend on that row only, given that `rows` always has the same length.
        """

    def score(self, histories: Histories) -> NDArray[np.float32]:
        """(n_users, n_columns) predicted ratings."""
        return all_scores(self._score(histories), len(histories.user_index), len(self.items))

    def top_n(self, histories: Histories, n: int, compute: ComputeConfig) -> TopN:
        """The n columns with the highest predicted rating."""
        threads = thread_count(compute)
        return TopN(*dense_top_n(self._score(histories), histories.seen, n, threads, allowed=histories.allowed))

    def _score(self, histories: Histories) -> Any:
        return lambda rows: self.grid(histories, rows)
