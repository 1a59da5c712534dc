"""Top-n lists of all users by blocks: the ranker's candidates, topped up from popularity, with the rater's say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys import tables
from recsys.compute import over_ranges, thread_count
from recsys.config import ComputeConfig
from recsys.identifiers import UNKNOWN, IdMap
from recsys.models.base import Histories, Ranker, Rater
from recsys.parquet import ROW_GROUP_ROWS
from recsys.prepare.training_set import TrainingSet, by_popularity
from recsys.progress import track
from recsys.score.selection import fill_from_order

SOURCES = pa.array([tables.SOURCE_MODEL, tables.SOURCE_FOLD_IN, tables.SOURCE_POPULAR])
MODEL, FOLD_IN, POPULAR = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Lists:
    """Lists of some users; -1 in `item_index` where there is no candidate left.

    Attributes:
        user_index: (m,) int32.
        item_index: (m, n) int32, in order of rank.
        score: (m, n) float32, meaningful where `source` is not POPULAR.
        source: (m, n) int8, position in `SOURCES`.
        because: (m, n) int32 item_index, -1 where unknown.
        predicted: (m, n) float32, NaN where the rater cannot say.
    """

    user_index: NDArray[np.int32]
    item_index: NDArray[np.int32]
    score: NDArray[np.float32]
    source: NDArray[np.int8]
    because: NDArray[np.int32]
    predicted: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scorer:
    """What a list is made from.

    Attributes:
        training_set: the ratings that stand as each user's history.
        seen: (n_people, n_items) CSR, never recommended.
        ranker: orders the items.
        rater: predicts ratings; None leaves them out.
        scale: lowest and highest rating; predictions are clipped to it.
        n: length of a list.
        new_people: (n_people, n_columns) CSR float32, what people have rated whom the models were not fitted on: the
            lists are then theirs, and `user_index` is a row of this. None: lists of the training set's users.
    """

    training_set: TrainingSet
    seen: csr_matrix
    ranker: Ranker
    rater: Rater | None
    scale: tuple[float, float]
    n: int
    compute: ComputeConfig
    new_people: csr_matrix | None = None

    def blocks(self, users: NDArray[np.int32]) -> Iterator[Lists]:
        """The lists of `users` (ascending user_index), as many users a block as fill one row group.

        The size of a block is fixed by the table's layout, not by the machine: a block's arrays take some 15 MB.
        """
        size = max(1, ROW_GROUP_ROWS // self.n)
        order = self._candidates_by_popularity()
        with track("score", len(users), "users") as bar:
            for start in range(0, len(users), size):
                block = users[start : start + size]
                yield self._lists(block, order)
                bar.advance(len(block))

    def _candidates_by_popularity(self) -> NDArray[np.int32]:
        counts = self.training_set.item_counts
        return by_popularity(counts)[: np.count_nonzero(counts)]

    def _lists(self, users: NDArray[np.int32], popular: NDArray[np.int32]) -> Lists:
        seen = self.seen[users]
        histories = self._histories(users, self._to_columns(seen))
        top = self.ranker.top_n(histories, self.n, self.compute)
        columns = np.where(self._can_score(histories)[:, None], top.columns, np.int32(-1))
        because = self.ranker.because(histories, columns, self.compute)
        item_index = self._to_items(columns)
        self._top_up(item_index, seen, popular)
        predicted = self._predict(histories, item_index)
        return Lists(users, item_index, top.scores, self._sources(users, columns), self._to_items(because), predicted)

    def _histories(self, users: NDArray[np.int32], seen: csr_matrix) -> Histories:
        if self.new_people is None:
            return Histories(users, self.training_set.ratings[users], seen)
        return Histories(np.full(len(users), UNKNOWN, dtype=np.int32), self.new_people[users], seen)

    def _can_score(self, histories: Histories) -> NDArray[np.bool_]:
        """(m,) bool; a new person of whom nothing is known is never said to be folded in, whatever the ranker says."""
        known = self.new_people is None or np.diff(histories.ratings.indptr) > 0
        return self.ranker.can_score(histories) & known

    def _to_columns(self, seen: csr_matrix) -> csr_matrix:
        """The same pairs in the model's columns; entries of items not kept are dropped."""
        column = self.training_set.column_of[seen.indices]
        keep = column != UNKNOWN
        indptr = np.concatenate(([0], np.cumsum(keep)))[seen.indptr]
        shape = (seen.shape[0], len(self.training_set.items))
        return csr_matrix((seen.data[keep], column[keep], indptr), shape=shape)

    def _to_items(self, columns: NDArray[np.int32]) -> NDArray[np.int32]:
        return np.where(columns >= 0, self.training_set.items[columns], np.int32(UNKNOWN))

    def _sources(self, users: NDArray[np.int32], columns: NDArray[np.int32]) -> NDArray[np.int8]:
        trained = False if self.new_people is not None else self.training_set.trained[users, None]
        own = np.where(trained, np.int8(MODEL), np.int8(FOLD_IN))
        return np.where(columns >= 0, own, np.int8(POPULAR))

    def _top_up(self, item_index: NDArray[np.int32], seen: csr_matrix, popular: NDArray[np.int32]) -> None:
        def fill(start: int, stop: int) -> None:
            fill_from_order(start, stop, popular, seen.indptr, seen.indices, item_index)

        over_ranges(fill, len(item_index), thread_count(self.compute))

    def _predict(self, histories: Histories, item_index: NDArray[np.int32]) -> NDArray[np.float32]:
        if self.rater is None:
            return np.full(item_index.shape, np.nan, dtype=np.float32)
        if self.new_people is None:
            predicted = self.rater.predict(np.repeat(histories.user_index, self.n), item_index.ravel())
        else:
            column = np.where(item_index >= 0, self.training_set.column_of[item_index], np.int32(UNKNOWN))
            predicted = self.rater.predict_new(histories.ratings, column)
        return np.clip(predicted, *np.array(self.scale, dtype=np.float32)).reshape(item_index.shape)


def to_table(lists: Lists, ids: IdMap) -> pa.Table:
    """The lists as rows of the published `recommendations` schema."""
    stands = lists.item_index >= 0
    n = stands.shape[1]
    rank = np.broadcast_to(np.arange(1, n + 1, dtype=np.int32), stands.shape)
    user_index = np.broadcast_to(lists.user_index[:, None], stands.shape)
    because, predicted = lists.because[stands], lists.predicted[stands]
    columns = [
        ids.user_ids.take(pa.array(user_index[stands])),
        pa.array(rank[stands]),
        ids.item_ids.take(pa.array(lists.item_index[stands])),
        pa.array(lists.score[stands], mask=lists.source[stands] == POPULAR),
        pa.array(predicted, mask=np.isnan(predicted)),
        SOURCES.take(pa.array(lists.source[stands])),
        ids.item_ids.take(pa.array(because, mask=because < 0)),
    ]
    return pa.Table.from_arrays(columns, schema=tables.recommendations(ids.user_ids.type, ids.item_ids.type))
