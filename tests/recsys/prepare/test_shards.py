"""Consecutive users by number of ratings."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys.prepare.shards import Shard, cut


@given(counts=st.lists(st.integers(0, 9), max_size=40), ratings=st.integers(1, 20), users=st.integers(1, 6))
def test_shards_cover_all_users_once_and_are_as_long_as_fits(counts, ratings, users):
    shards = cut(np.concatenate(([0], np.cumsum(counts))).astype(np.int64), ratings, users)
    assert [user for shard in shards for user in range(shard.start, shard.stop)] == list(range(len(counts)))
    for shard in shards:
        own = counts[shard.start : shard.stop]
        assert 1 <= len(shard) == len(own) <= users
        assert sum(own) <= ratings or len(own) == 1
        one_more = counts[shard.start : shard.stop + 1]
        assert shard.stop == len(counts) or len(own) == users or sum(one_more) > ratings


def test_a_user_of_more_ratings_than_a_shard_stands_alone():
    assert cut(np.array([0, 1, 50, 51]), ratings=10) == (Shard(0, 1), Shard(1, 2), Shard(2, 3))
