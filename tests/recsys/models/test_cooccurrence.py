"""Weighted Gram matrices in whole numbers, against the dense product; splits and orders do not matter."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from model_contract import training_set_of
from numpy.testing import assert_array_equal

from recsys.errors import UsageError
from recsys.models import cooccurrence
from recsys.models.cooccurrence import WeightedRows, add_gram, upper_gram, user_weights
from recsys.models.triangle import Triangle

POWERS = st.sampled_from([0.0, 0.7, 2.0])
BINARY = st.tuples(st.integers(1, 12), st.integers(1, 9)).flatmap(lambda shape: arrays(np.bool_, shape))


def rows_of(x, power=0.7, untrained=()):
    """The rows of a (n_users, n_columns) matrix of 0 and 1."""
    rated = np.asarray(x, dtype=bool)
    weight = user_weights(rated.sum(axis=1), power)
    weight[list(untrained)] = 0
    indptr = np.append(0, np.cumsum(rated.sum(axis=1))).astype(np.int64)
    return WeightedRows(indptr, np.nonzero(rated)[1].astype(np.uint32), weight, rated.shape[1])


def dense_gram(x, weight):
    """X^T W X in Python's own integers."""
    whole = np.asarray(x, dtype=int).astype(object)
    return np.triu(whole.T @ (np.asarray(weight).astype(object)[:, None] * whole)).astype(np.float64)


def full(rows, threads=1):
    """The upper triangle, dense."""
    return np.triu(upper_gram(rows, threads).as_matrix(threads))


class TestWeights:
    @pytest.mark.parametrize("power", [0.3, 0.7, 1.0, 1.6])
    def test_a_weight_is_the_power_of_the_power_of_two_that_is_reached(self, power):
        ratings = np.array([1, 2, 3, 4, 7, 8, 1023, 1024, 1025, 40_000])
        reached = np.array([1, 2, 2, 4, 4, 8, 512, 1024, 1024, 32_768])
        assert_array_equal(user_weights(ratings, power), np.rint(2 ** (8 + 10 * power) * reached**-power))

    def test_without_a_power_all_weigh_one(self):
        assert_array_equal(user_weights(np.array([0, 1, 5, 100_000]), 0.0), [0, 1, 1, 1])

    def test_nobody_weighs_nothing_and_nobody_more_than_24_bits(self):
        weights = user_weights(np.array([1, 2**20, 2**40]), 2.0)
        assert_array_equal(weights, [2**24, 1, 1])

    def test_who_is_not_learned_from_weighs_nothing(self):
        training_set = training_set_of([[1.0, 2.0], [3.0, np.nan]], min_user_ratings=2)
        rows = WeightedRows.of(training_set, 0.0)
        assert_array_equal(rows.weight, [1, 0])
        assert rows.n_learned == 1
        assert_array_equal(rows.by_column, [[1, 1], [1, 1]])
        assert_array_equal(full(rows), [[1, 1], [0, 1]])

    def test_the_ratings_are_not_copied(self):
        training_set = training_set_of([[1.0, 2.0], [3.0, np.nan]])
        assert np.shares_memory(WeightedRows.of(training_set, 0.7).columns, training_set.ratings.indices)


class TestSums:
    def test_sums_beyond_32_bits(self):
        x = np.ones((600, 2))
        rows = rows_of(x, 2.0)  # 600 users of 2 ratings, 2^22 each
        assert rows.largest == 600 * 2**22 < 2**32
        more = rows_of(np.ones((2000, 2)), 2.0)
        assert more.largest > 2**32
        assert_array_equal(full(more), dense_gram(np.ones((2000, 2)), more.weight))

    def test_sums_that_are_not_exact_are_refused(self):
        rows = rows_of(np.ones((2, 1)))
        with pytest.raises(UsageError, match="exactly"):
            _ = WeightedRows(rows.indptr, rows.columns, np.array([2**52, 2**52]), 1).largest


class TestUpperGram:
    @pytest.mark.parametrize("threads", [1, 2, 7])
    @pytest.mark.parametrize("shape", [(1, 1), (50, 33), (3, 90), (200, 17)])
    @pytest.mark.parametrize("power", [0.0, 0.7])
    def test_it_is_the_product(self, shape, threads, power, monkeypatch):
        monkeypatch.setattr(cooccurrence, "SHARD", 64)
        x = np.random.default_rng(4).random(shape) < 0.4
        rows = rows_of(x, power)
        assert_array_equal(full(rows, threads), dense_gram(x, rows.weight))

    @given(BINARY, POWERS, st.lists(st.integers(0, 12)), st.randoms(), st.integers(1, 40))
    def test_any_split_into_shards_and_any_order_is_the_same(self, x, power, cuts, random, shard):
        rows = rows_of(x, power, untrained=[0])
        edges = sorted({0, len(x), *(cut for cut in cuts if cut < len(x))})
        ranges = list(itertools.pairwise(edges))
        random.shuffle(ranges)
        parts = [Triangle.zeros(x.shape[1], rows.largest) for _ in range(2)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cooccurrence, "SHARD", shard)
            for place, users in enumerate(ranges):
                add_gram(parts[place % 2], rows, 1, users)  # as two workers would, who share the shards
        parts[0].sums[:] += parts[1].sums
        assert parts[0].sums.tobytes() == upper_gram(rows, 3).sums.tobytes()
        assert_array_equal(np.triu(parts[0].as_matrix(1)), dense_gram(x, rows.weight))

    @given(BINARY, st.integers(1, 40))
    def test_shards_are_consecutive_and_hold_all_users(self, x, ratings):
        rows = rows_of(x)
        shards = list(rows.shards(ratings))
        covered = [user for start, stop in shards for user in range(start, stop)]
        assert covered == list(range(len(x)))
