"""Popularity: the same list for everyone. The ranking that every other model must beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from recsys.compute import over_ranges, thread_count
from recsys.config import ComputeConfig, Section
from recsys.models.base import FitContext, Histories, Ranker, TopN, load_arrays, save_arrays
from recsys.prepare.training_set import TrainingSet, by_popularity
from recsys.score.selection import empty_lists, fill_from_order


class PopularSettings(Section):
    """Popularity has nothing to set."""


@dataclass(frozen=True, eq=False)
class Popular(Ranker):
    """Items by their number of ratings.

    Attributes:
        items: (n_columns,) int32, the item_index of each column.
        counts: (n_columns,) int64, ratings of each column: the score.
    """

    name: ClassVar[str] = "popular"
    summary: ClassVar[str] = "items by number of ratings, the same for all; the ranking to beat"
    settings: ClassVar[type[Section]] = PopularSettings

    items: NDArray[np.int32]
    counts: NDArray[np.int64]

    @classmethod
    def fit(
        cls,
        training_set: TrainingSet,
        settings: PopularSettings,
        context: FitContext,
        found: Mapping[str, Any] | None = None,
    ) -> Self:
        """Count the ratings of each column."""
        return cls(training_set.items, training_set.item_counts[training_set.items])

    def score(self, histories: Histories) -> NDArray[np.float32]:
        """(n_users, n_columns) the counts, on every row."""
        return np.tile(self.counts.astype(np.float32), (len(histories.user_index), 1))

    def can_score(self, histories: Histories) -> NDArray[np.bool_]:
        """Popularity has something to say about anyone."""
        return np.ones(len(histories.user_index), dtype=bool)

    def top_n(self, histories: Histories, n: int, compute: ComputeConfig) -> TopN:
        """The n most rated columns that a user has not seen."""
        columns, scores = empty_lists(len(histories.user_index), n)
        order, seen = self._order(), histories.seen
        order = order if histories.allowed is None else order[histories.allowed[order]]

        def fill(start: int, stop: int) -> None:
            fill_from_order(start, stop, order, seen.indptr, seen.indices, columns)

        over_ranges(fill, len(columns), thread_count(compute))
        stands = columns >= 0
        scores[stands] = self.counts[columns[stands]].astype(np.float32)
        return TopN(columns, scores)

    def _order(self) -> NDArray[np.int32]:
        # By the score as published: above 2^24 two counts may share a float32, and then the tie goes by column.
        return by_popularity(self.counts.astype(np.float32))

    def _save_state(self, folder: Path) -> dict[str, Any]:
        save_arrays(folder, items=self.items, counts=self.counts)
        return {}

    @classmethod
    def _load_state(cls, folder: Path, record: Mapping[str, Any]) -> Self:
        return cls(**load_arrays(folder))
