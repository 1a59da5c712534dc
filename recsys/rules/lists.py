"""Lists under rules: exactly the best of what is eligible, boosted, capped and diversified, and what that changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recsys.compute import over_ranges
from recsys.rules.effects import Effects, effects
from recsys.rules.policy import Policy, Rules
from recsys.rules.selection import diversify_rows, fill_rows, pick_rows
from recsys.score.selection import NOTHING, empty_lists

Columns = NDArray[np.int32]
Scores = NDArray[np.float32]
# The m best of some people's columns that are allowed: (rows of the people, m, (n_columns,) bool) to columns, scores.
Fetch = Callable[[NDArray[np.int64], int, NDArray[np.bool_]], tuple[Columns, Scores]]

CELLS = 1 << 22  # candidates held at once: 8 bytes each, and some copies of them for sorting
DEEPER = 4  # times as many candidates, where those fetched do not tell the list


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidates of some people in the order in which a list takes them.

    Attributes:
        items: (m, width) int32 item_index by (boosted score descending, item ascending); -1 where there are fewer.
        columns, scores: (m, width) the ranker's columns and the boosted scores.
        certain: (m,) how many of the first are surely the first: no candidate that was not fetched can precede them.
        whole: (m,) bool, whether there are no others at all.
    """

    items: NDArray[np.int32]
    columns: Columns
    scores: Scores
    certain: NDArray[np.int64]
    whole: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Ranking:
    """Makes the ranked part of lists for people of one cohort.

    Attributes:
        policy: what holds for them.
        items: (n_columns,) int32, the item_index of each of the ranker's columns, ascending.
        n: length of a list.
        fetch: asks the ranker.
    """

    policy: Policy
    items: NDArray[np.int32]
    n: int
    threads: int
    fetch: Fetch

    def lists(self, rows: NDArray[np.int64], plain: tuple[Columns, Scores]) -> tuple[Columns, Scores]:
        """(m, n) columns and scores of these people.

        The best without rules are looked at first: where enough of them may stand, they are the answer. For the others
        more is fetched, until what was not fetched cannot matter.

        Args:
            rows: (m,) of the people, for `fetch`.
            plain: (m, width) their best columns without rules, and the scores.
        """
        columns, scores = empty_lists(len(rows), self.n)
        pending = np.arange(len(rows))
        if self.policy.in_order:
            pending = pending[~self._take(self._of_plain(plain), pending, columns, scores)]
        m = self._first(plain[0].shape[1])
        while len(pending):
            left = [
                some[~self._take(self._fetched(rows[some], m), some, columns, scores)]
                for some in self._pieces(pending, m)
            ]
            pending, m = np.concatenate(left), m * DEEPER
        return columns, scores

    def _first(self, width: int) -> int:
        """How many eligible candidates are fetched first, where the best `width` without rules were too few."""
        if self.policy.in_order and self.policy.mmr is None:
            return DEEPER * width if len(self.policy.caps.limit) else self.n  # without caps the n best are the list
        return width

    def _pieces(self, pending: NDArray[np.int64], m: int) -> list[NDArray[np.int64]]:
        size = max(1, CELLS // (min(m, len(self.items)) * len(self.policy.boosts)))
        return [pending[start : start + size] for start in range(0, len(pending), size)]

    def _of_plain(self, plain: tuple[Columns, Scores]) -> Candidates:
        """What the rules leave of the ranker's own lists, in their order."""
        columns, scores = plain
        whole = np.asarray((columns < 0).any(axis=1))
        stays = (columns >= 0) & self.policy.eligible[self._to_items(columns)]
        order = np.argsort(~stays, axis=1, kind="stable")
        columns = np.take_along_axis(np.where(stays, columns, NOTHING), order, axis=1)
        scores = np.take_along_axis(scores, order, axis=1)
        return Candidates(self._to_items(columns), columns, scores, stays.sum(axis=1), whole)

    def _fetched(self, rows: NDArray[np.int64], m: int) -> Candidates:
        """The m best of each class of boost, merged; `certain` are those above all that any class may still hold."""
        allowed, of_class = self.policy.eligible[self.items], self.policy.boost_class[self.items]
        all_columns, all_scores, bound = [], [], np.full(len(rows), -np.inf, np.float32)
        for number, boosts in enumerate(self.policy.boosts):
            mine = allowed & (of_class == number)
            size = min(m, int(mine.sum()))
            if not size:
                continue
            columns, scores = self.fetch(rows, size, mine)
            all_columns.append(columns)
            all_scores.append(np.where(columns >= 0, boosts.of(scores), np.float32(-np.inf)))
            if size < mine.sum():  # the last one's score is -inf where a person's are all there
                bound = np.maximum(bound, all_scores[-1][:, -1])
        if not all_columns:
            all_columns, all_scores = [np.empty((len(rows), 0), np.int32)], [np.empty((len(rows), 0), np.float32)]
        columns, scores = all_columns[0], all_scores[0]
        if len(self.policy.boosts) > 1:
            columns, scores = _sorted(np.hstack(all_columns), np.hstack(all_scores))
        whole = np.isneginf(bound)
        stands = columns >= 0
        # Within one class that nothing was added to, what was not fetched comes later also where its score is equal.
        apart = stands if len(self.policy.boosts) == 1 else stands & (scores > bound[:, None])
        certain = np.where(whole, stands.sum(axis=1), apart.sum(axis=1))
        return Candidates(self._to_items(columns), columns, scores, certain, whole)

    def _take(self, found: Candidates, rows: NDArray[np.int64], columns: Columns, scores: Scores) -> NDArray[np.bool_]:
        """Write the lists that are told by these candidates; whose they are."""
        if not found.items.shape[1]:
            return found.whole
        picked, values, done = self._picked(found)
        places = np.maximum(picked[done], 0)
        columns[rows[done]] = np.where(picked[done] >= 0, _at(found.columns[done], places), NOTHING)
        scores[rows[done]] = np.where(picked[done] >= 0, values[done], np.float32(-np.inf))
        return done

    def _picked(self, found: Candidates) -> tuple[NDArray[np.int32], Scores, NDArray[np.bool_]]:
        """(m, n) places among the candidates, the scores there, and (m,) whether the list is told."""
        picked, values = empty_lists(len(found.items), self.n)
        if self.policy.mmr is not None:
            return picked, values, self._diversified(found, picked, values)
        arrays = found.items, found.certain, self.policy.caps, picked
        over_ranges(lambda start, stop: pick_rows(start, stop, *arrays), len(picked), self.threads)
        return picked, _at(found.scores, np.maximum(picked, 0)), (picked[:, -1] >= 0) | found.whole

    def _diversified(self, found: Candidates, picked: NDArray[np.int32], values: Scores) -> NDArray[np.bool_]:
        """From a pool of the best; where caps leave a list short of n, from one of twice as many, until all are in."""
        mmr, todo = self.policy.mmr, np.arange(len(picked))
        assert mmr is not None
        cost, size = (1.0 - mmr.relevance) / mmr.relevance, max(mmr.pool, self.n)
        done = np.zeros(len(picked), bool)
        while len(todo):
            enough = (found.certain[todo] >= size) | found.whole[todo]
            todo = todo[enough]  # of the others more must be fetched first
            pool = np.minimum(found.certain[todo], size)
            places, marginal = empty_lists(len(todo), self.n)
            likeness, caps = self.policy.likeness, self.policy.caps
            arrays = (found.items[todo], found.scores[todo], pool, cost, likeness, caps, places, marginal)
            over_ranges(lambda start, stop: diversify_rows(start, stop, *arrays), len(todo), self.threads)  # noqa: B023
            full = (places[:, -1] >= 0) | (found.whole[todo] & (pool == found.certain[todo]))
            picked[todo[full]], values[todo[full]], done[todo[full]] = places[full], marginal[full], True
            todo, size = todo[~full], 2 * size
        return done

    def _to_items(self, columns: Columns) -> NDArray[np.int32]:
        return np.where(columns >= 0, self.items[columns], NOTHING)


def _at(values: NDArray, places: NDArray[np.int32]) -> NDArray:
    return np.take_along_axis(values, places, axis=1)


def _sorted(columns: Columns, scores: Scores) -> tuple[Columns, Scores]:
    order = np.lexsort((columns, -scores), axis=-1)
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(scores, order, axis=1)


@dataclass(frozen=True, eq=False)
class Without:
    """Lists of some people without rules, and what they are made from.

    Attributes:
        columns, scores: (m, width) the ranker's best, in order; at least n.
        items: (m, n) item_index, topped up from popularity.
        scored: (m,) bool, whether the ranker has something to say about a person.
        kept: (n_columns,) int32, the item_index of each of its columns.
        popular: item_index of all items with a rating, by popularity.
        seen: (m, n_items) CSR, what each has seen, ascending.
        fetch: asks the ranker for more.
    """

    columns: Columns
    scores: Scores
    items: NDArray[np.int32]
    scored: NDArray[np.bool_]
    kept: NDArray[np.int32]
    popular: NDArray[np.int32]
    seen: csr_matrix
    fetch: Fetch


def ruled(
    rules: Rules, cohorts: NDArray[np.int32], without: Without, threads: int
) -> tuple[Columns, Scores, NDArray[np.int32], Effects]:
    """The same lists under rules: columns, scores, item_index topped up, and what the rules changed.

    Args:
        cohorts: (m,) of each person.
    """
    columns, scores = empty_lists(*without.items.shape)
    items, changes = columns.copy(), []
    for cohort in np.unique(cohorts):
        policy, rows = rules.policy(int(cohort)), np.flatnonzero(cohorts == cohort)
        scored = rows[without.scored[rows]]
        ranking = Ranking(policy, without.kept, columns.shape[1], threads, without.fetch)
        columns[scored], scores[scored] = ranking.lists(scored, (without.columns[scored], without.scores[scored]))
        lists = np.where(columns[rows] >= 0, without.kept[columns[rows]], NOTHING)
        seen = without.seen[rows]
        top_up(policy, lists, without.popular, seen.indptr, seen.indices, threads)
        items[rows] = lists
        changes.append(effects(rules, policy, without.items[rows], lists, threads))
    return columns, scores, items, sum(changes[1:], changes[0])


def top_up(
    policy: Policy,
    lists: NDArray[np.int32],
    order: NDArray[np.int32],
    seen_indptr: NDArray,
    seen: NDArray,
    threads: int,
) -> None:
    """Fill the free places of lists with what is eligible and fits the caps.

    Args:
        lists: (m, n) item_index, filled in place.
        order: item_index of all items with a rating, by popularity.
        seen_indptr, seen: CSR of the items that each has seen, ascending.
    """
    order = order[policy.eligible[order]]
    over_ranges(
        lambda start, stop: fill_rows(start, stop, order, seen_indptr, seen, policy.caps, lists), len(lists), threads
    )
