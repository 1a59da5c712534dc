"""Sums of shards are the metrics of all users, however the users are cut."""

from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from recsys.evaluate import lists as list_metrics
from recsys.evaluate import ranking
from recsys.evaluate.bootstrap import Bootstrap
from recsys.evaluate.groups import group_of
from recsys.evaluate.rating import sum_by_user
from recsys.evaluate.sums import RankingSums, RatingSums, cell_of, level_of, ranking_sums, rating_sums
from recsys.prepare.shards import Shard

N_USERS, N_ITEMS, CUTOFFS = 12, 9, (1, 3)
BOOTSTRAP = Bootstrap(30, 0.95, 5)
RNG = np.random.default_rng(0)
LISTS = np.array([RNG.permutation(N_ITEMS)[:3] for _ in range(N_USERS)], np.int32)
LISTS[4, 2:] = -1
ACTIVITY = np.arange(N_USERS) * 3
HELD_OUT = np.array(sorted({(u, i) for u in (0, 1, 4, 5, 7, 11) for i in RNG.permutation(N_ITEMS)[:3]}), np.int32)


def of_shard(shard):
    user, item = HELD_OUT[(HELD_OUT[:, 0] >= shard.start) & (HELD_OUT[:, 0] < shard.stop)].T
    return ranking_sums(
        LISTS[shard.start : shard.stop], (user, item), ACTIVITY[shard.start : shard.stop], shard, (N_USERS, N_ITEMS),
        CUTOFFS, BOOTSTRAP,
    )  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(st.sets(st.integers(1, N_USERS - 1)))
def test_shards_add_up_to_the_whole(cuts):
    edges = [0, *sorted(cuts), N_USERS]
    whole = RankingSums.whole([of_shard(Shard(*pair)) for pair in pairwise(edges)])
    by_user = ranking.per_user(ranking.relevance(LISTS, *HELD_OUT.T, N_ITEMS), CUTOFFS)
    assert ranking.names(CUTOFFS) == tuple(by_user)
    assert_allclose(whole.total[:-1] / whole.total[-1], [values.mean() for values in by_user.values()])
    assert whole.total[-1] == 6
    first = LISTS[:, 0]
    assert_array_equal(whole.times[0], np.bincount(first, minlength=N_ITEMS))
    assert_array_equal(whole.times[1], np.bincount(LISTS[LISTS >= 0], minlength=N_ITEMS))
    assert_array_equal(whole.sampled, LISTS[list_metrics.sampled_users(N_USERS, BOOTSTRAP.seed)])
    assert whole.drawn.shape == (30, len(by_user) + 1)
    assert_allclose(whole.by_activity.sum(axis=0), whole.total)
    for group in np.unique(group_of(ACTIVITY)):
        judged = [place for place, user in enumerate(np.unique(HELD_OUT[:, 0])) if group_of(ACTIVITY)[user] == group]
        assert whole.by_activity[group, -1] == len(judged)
        assert_allclose(whole.by_activity[group, 0], by_user[ranking.names(CUTOFFS)[0]][judged].sum())
        rows = LISTS[group_of(ACTIVITY) == group]
        assert_array_equal(whole.listed[group], np.bincount(rows[rows >= 0], minlength=N_ITEMS))
    hits = [item for user, item in HELD_OUT if item in LISTS[user]]
    assert_array_equal(whole.found, [np.bincount(part, minlength=N_ITEMS) for part in (HELD_OUT[:, 1], hits)])


def test_they_are_kept_as_they_are(tmp_path):
    sums = of_shard(Shard(2, 8))
    sums.save(tmp_path / "sums.npz")
    kept = RankingSums.load(tmp_path / "sums.npz")
    for each in fields(sums):
        assert_array_equal(getattr(kept, each.name), getattr(sums, each.name))


def test_a_shard_without_held_out_ratings_adds_nothing():
    nobody = of_shard(Shard(2, 4))
    assert not nobody.total.any()
    assert not nobody.drawn.any()
    assert nobody.times.sum() == 2 + 6


def rated(rows, shard):
    """Sums of (user, rating, predicted) rows; the item is the user's, both were rated `user` times in training."""
    user, rating, predicted = np.asarray(rows, float).reshape(-1, 3).T
    holdout = (user.astype(np.int32), user.astype(np.int32), rating.astype(np.float32))
    counts = (user.astype(np.int64), 10 * user.astype(np.int64))
    return rating_sums(
        sum_by_user(holdout, predicted, len(rows)), holdout, predicted, counts, (1.0, 5.0), shard, BOOTSTRAP
    )


def test_errors_add_up():
    rows = [(0, 5, 4), (3, 1, 3), (3, 2, 2.5), (7, 5, 1), (7, 4, 4), (7, 5, 5)]
    parts = [rated(rows[:3], Shard(0, 5)), rated([], Shard(5, 6)), rated(rows[3:], Shard(6, 9))]
    whole = RatingSums.whole(parts)
    assert_allclose(whole.total, [1 + 4 + 0.25 + 16, 1 + 2 + 0.5 + 4, 6])
    assert int(whole.stood_in) == 6
    assert_allclose(whole.drawn, parts[0].drawn + parts[2].drawn)
    assert whole.drawn.mean(axis=0) == pytest.approx(whole.total, rel=0.6)
    assert_allclose(whole.by_activity[[0, 2, 3]], [[1, 1, 1], [4.25, 2.5, 2], [16, 4, 3]])
    assert_allclose(whole.by_popularity[[0, 5, 6]], [[1, 1, 1], [4.25, 2.5, 2], [16, 4, 3]])
    assert_allclose(whole.by_level[[0, 6, 19, 25]], [[1, 1, 2, 4, 2], [1, 2, 0.5, 0.25, 0.5], [1, 4, 0, 0, 0], [3, 15, -5, 17, 5]])  # fmt: skip
    assert_allclose(whole.by_cell.sum(axis=0), [6, 19.5, 22])
    assert whole.by_cell[49].tolist() == [1, 5, 5]  # the highest prediction belongs to the last cell
    assert whole.density.sum() == 6
    assert whole.density[25, [0, 37, 49]].tolist() == [1, 1, 1]


@given(st.integers(1, 26), st.floats(-50, 50), st.floats(0.05, 10))
def test_ratings_on_up_to_26_steps_are_told_apart(n, lowest, step):
    ratings = lowest + step * np.arange(n)
    level = level_of(ratings, (ratings[0], ratings[-1]))
    assert len(set(level.tolist())) == n
    assert level.min() == 0
    assert level.max() <= 25
    assert (
        0
        <= cell_of(ratings, (ratings[0], ratings[-1])).min()
        <= cell_of(ratings, (ratings[0], ratings[-1])).max()
        <= 49
    )
