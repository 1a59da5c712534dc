"""Top-n lists of all users by blocks: the ranker's candidates, topped up from popularity, with the rater's say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

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
from recsys.prepare.prepared import Part, Prepared
from recsys.prepare.shards import Shard
from recsys.prepare.training_set import Catalogue
from recsys.progress import track
from recsys.rules.effects import Effects
from recsys.rules.lists import Without, ruled
from recsys.rules.policy import Rules
from recsys.score.selection import fill_from_order

SOURCES = pa.array([tables.SOURCE_MODEL, tables.SOURCE_FOLD_IN, tables.SOURCE_POPULAR])
MODEL, FOLD_IN, POPULAR = 0, 1, 2


@dataclass(frozen=True, eq=False)
class People:
    """Those whose lists are made, a row each.

    Attributes:
        listed_as: (m,) int32, position of each in the table's user ids, ascending.
        ratings: (m, n_columns) CSR float32, what each has rated, in the models' columns.
        seen: (m, n_items) CSR, a stored entry is never recommended.
        trained: (m,) bool, whether the models learned from them.
        new: people whom the models were not fitted on (fold-in): `listed_as` then says nothing to a model.
    """

    listed_as: NDArray[np.int32]
    ratings: csr_matrix
    seen: csr_matrix
    trained: NDArray[np.bool_]
    new: bool = False

    @classmethod
    def of_shard(cls, prepared: Prepared, part: Part, shard: Shard, *, seen: Part) -> People:
        """All users of a shard.

        Args:
            part: whose ratings are their histories.
            seen: whose ratings are never recommended.
        """
        return cls(
            np.arange(shard.start, shard.stop, dtype=np.int32),
            prepared.histories(part, shard),
            prepared.seen(seen, shard),
            prepared.array(f"{part}/trained", shard.start, shard.stop),
        )

    def take(self, rows: NDArray[np.int64] | slice) -> People:
        """Some of them."""
        return replace(
            self,
            listed_as=self.listed_as[rows],
            ratings=self.ratings[rows],
            seen=self.seen[rows],
            trained=self.trained[rows],
        )

    def __len__(self) -> int:
        return len(self.listed_as)


@dataclass(frozen=True, eq=False)
class Lists:
    """Lists of some people; -1 in `item_index` where there is no candidate left.

    Attributes:
        listed_as: (m,) int32, position in the table's user ids.
        item_index: (m, n) int32, in order of rank.
        score: (m, n) float32, meaningful where `source` is not POPULAR.
        source: (m, n) int8, position in `SOURCES`.
        because: (m, n) int32 item_index, -1 where unknown.
        predicted: (m, n) float32, NaN where the rater cannot say.
        effects: what rules changed; None without rules.
    """

    listed_as: NDArray[np.int32]
    item_index: NDArray[np.int32]
    score: NDArray[np.float32]
    source: NDArray[np.int8]
    because: NDArray[np.int32]
    predicted: NDArray[np.float32]
    effects: Effects | None = None


@dataclass(frozen=True, eq=False)
class Scorer:
    """What a list is made from.

    Attributes:
        catalogue: the models' columns, and the popularity of all items.
        ranker: orders the items.
        rater: predicts ratings; None leaves them out.
        scale: lowest and highest rating; predictions are clipped to it.
        n: length of a list.
        rules: what may stand in a list; None: all.
    """

    catalogue: Catalogue
    ranker: Ranker
    rater: Rater | None
    scale: tuple[float, float]
    n: int
    compute: ComputeConfig
    rules: Rules | None = None

    def blocks(self, people: People) -> Iterator[Lists]:
        """Their lists, as many people a block as fill one row group.

        The size of a block is fixed by the table's layout, not by the machine: a block's arrays take some 15 MB.
        """
        size = max(1, ROW_GROUP_ROWS // self.n)
        with track("score", len(people), "users") as bar:
            for start in range(0, len(people), size):
                block = people.take(slice(start, start + size))
                yield self._lists(block)
                bar.advance(len(block))

    def _lists(self, people: People) -> Lists:
        user_index = np.full(len(people), UNKNOWN, dtype=np.int32) if people.new else people.listed_as
        histories = Histories(user_index, people.ratings, self._to_columns(people.seen))
        width = self.n if self.rules is None else self.rules.width(self.n)
        top = self.ranker.top_n(histories, width, self.compute)
        scored = self._can_score(histories, people)
        best = np.where(scored[:, None], top.columns, np.int32(-1))
        columns, scores = best[:, : self.n], top.scores[:, : self.n]
        item_index = self._to_items(columns)
        self._top_up(item_index, people.seen)
        effects = None
        if self.rules is not None:
            made_from = (
                best,
                top.scores,
                item_index,
                scored,
                self.catalogue.items,
                self.catalogue.popular,
                people.seen,
            )
            without = Without(*made_from, partial(self._best, histories))
            cohorts, threads = self.rules.cohort(user_index), thread_count(self.compute)
            columns, scores, item_index, effects = ruled(self.rules, cohorts, without, threads)
        because = self.ranker.because(histories, columns, self.compute)
        predicted = self._predict(histories, item_index, people)
        source = _sources(people, columns)
        return Lists(people.listed_as, item_index, scores, source, self._to_items(because), predicted, effects)

    def _best(
        self, histories: Histories, rows: NDArray[np.int64], m: int, allowed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The m best of the allowed columns of some people."""
        some = Histories(histories.user_index[rows], histories.ratings[rows], histories.seen[rows], allowed)
        top = self.ranker.top_n(some, m, self.compute)
        return top.columns, top.scores

    def _can_score(self, histories: Histories, people: People) -> NDArray[np.bool_]:
        """(m,) bool; a new person of whom nothing is known is never said to be folded in, whatever the ranker says."""
        known = not people.new or np.diff(histories.ratings.indptr) > 0
        return self.ranker.can_score(histories) & known

    def _to_columns(self, seen: csr_matrix) -> csr_matrix:
        """The same pairs in the model's columns; entries of items not kept are dropped."""
        column = self.catalogue.column_of[seen.indices]
        keep = column != UNKNOWN
        indptr = np.concatenate(([0], np.cumsum(keep)))[seen.indptr]
        shape = (seen.shape[0], len(self.catalogue.items))
        return csr_matrix((seen.data[keep], column[keep], indptr), shape=shape)

    def _to_items(self, columns: NDArray[np.int32]) -> NDArray[np.int32]:
        return np.where(columns >= 0, self.catalogue.items[columns], np.int32(UNKNOWN))

    def _top_up(self, item_index: NDArray[np.int32], seen: csr_matrix) -> None:
        def fill(start: int, stop: int) -> None:
            fill_from_order(start, stop, self.catalogue.popular, seen.indptr, seen.indices, item_index)

        over_ranges(fill, len(item_index), thread_count(self.compute))

    def _predict(self, histories: Histories, item_index: NDArray[np.int32], people: People) -> NDArray[np.float32]:
        if self.rater is None:
            return np.full(item_index.shape, np.nan, dtype=np.float32)
        if people.new:
            column = np.where(item_index >= 0, self.catalogue.column_of[item_index], np.int32(UNKNOWN))
            predicted = self.rater.predict_new(histories.ratings, column)
        else:
            predicted = self.rater.predict(np.repeat(histories.user_index, self.n), item_index.ravel())
        return np.clip(predicted, *np.array(self.scale, dtype=np.float32)).reshape(item_index.shape)


def _sources(people: People, columns: NDArray[np.int32]) -> NDArray[np.int8]:
    learned = people.trained[:, None] & (not people.new)
    return np.where(columns >= 0, np.where(learned, np.int8(MODEL), np.int8(FOLD_IN)), np.int8(POPULAR))


def to_table(lists: Lists, ids: IdMap, first: int = 0) -> pa.Table:
    """The lists as rows of the published `recommendations` schema.

    Args:
        ids: of all users, or of those from `first` on.
    """
    stands = lists.item_index >= 0
    n = stands.shape[1]
    rank = np.broadcast_to(np.arange(1, n + 1, dtype=np.int32), stands.shape)
    listed_as = np.broadcast_to(lists.listed_as[:, None] - np.int32(first), stands.shape)
    because, predicted = lists.because[stands], lists.predicted[stands]
    columns = [
        ids.user_ids.take(pa.array(listed_as[stands])),
        pa.array(rank[stands]),
        ids.item_ids.take(pa.array(lists.item_index[stands])),
        pa.array(lists.score[stands], mask=lists.source[stands] == POPULAR),
        pa.array(predicted, mask=np.isnan(predicted)),
        SOURCES.take(pa.array(lists.source[stands])),
        ids.item_ids.take(pa.array(because, mask=because < 0)),
    ]
    return pa.Table.from_arrays(columns, schema=tables.recommendations(ids.user_ids.type, ids.item_ids.type))
