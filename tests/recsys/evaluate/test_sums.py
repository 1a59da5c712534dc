"""Sums of shards are the metrics of all users, however the users are cut."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from recsys.evaluate import lists as list_metrics
from recsys.evaluate import ranking
from recsys.evaluate.bootstrap import Bootstrap
from recsys.evaluate.rating import Errors
from recsys.evaluate.sums import RankingSums, RatingSums, ranking_sums, rating_sums
from recsys.prepare.shards import Shard

N_USERS, N_ITEMS, CUTOFFS = 12, 9, (1, 3)
BOOTSTRAP = Bootstrap(30, 0.95, 5)
RNG = np.random.default_rng(0)
LISTS = np.array([RNG.permutation(N_ITEMS)[:3] for _ in range(N_USERS)], np.int32)
LISTS[4, 2:] = -1
HELD_OUT = np.array(sorted({(u, i) for u in (0, 1, 4, 5, 7, 11) for i in RNG.permutation(N_ITEMS)[:3]}), np.int32)


def of_shard(shard):
    user, item = HELD_OUT[(HELD_OUT[:, 0] >= shard.start) & (HELD_OUT[:, 0] < shard.stop)].T
    return ranking_sums(
        LISTS[shard.start : shard.stop], (user, item), shard, (N_USERS, N_ITEMS), CUTOFFS, BOOTSTRAP
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


def test_they_are_kept_as_they_are(tmp_path):
    sums = of_shard(Shard(2, 8))
    sums.save(tmp_path / "sums.npz")
    kept = RankingSums.load(tmp_path / "sums.npz")
    for name in ("total", "drawn", "times", "sampled"):
        assert_array_equal(getattr(kept, name), getattr(sums, name))


def test_a_shard_without_held_out_ratings_adds_nothing():
    nobody = of_shard(Shard(2, 4))
    assert not nobody.total.any()
    assert not nobody.drawn.any()
    assert nobody.times.sum() == 2 + 6


def test_errors_add_up():
    def errors(rows):
        rows = np.asarray(rows, float).reshape(-1, 3)
        return Errors(rows[:, 0], rows[:, 1], rows[:, 2], stood_in=len(rows))

    parts = [rating_sums(errors([[4, 2, 1], [1, 1, 2]]), Shard(0, 5), BOOTSTRAP), rating_sums(errors([]), Shard(5, 6), BOOTSTRAP),
             rating_sums(errors([[9, 3, 1]]), Shard(6, 9), BOOTSTRAP)]  # fmt: skip
    whole = RatingSums.whole(parts)
    assert whole.total.tolist() == [14.0, 6.0, 4.0]
    assert int(whole.stood_in) == 3
    assert_allclose(whole.drawn, parts[0].drawn + parts[2].drawn)
    assert whole.drawn.mean(axis=0) == pytest.approx(whole.total, rel=0.6)
