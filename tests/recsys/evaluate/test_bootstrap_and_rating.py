"""Intervals over users, and errors of predictions."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from recsys.evaluate import bootstrap as bootstrap_module
from recsys.evaluate.bootstrap import TIMES, Bootstrap
from recsys.evaluate.rating import errors_by_user


def means_of(bootstrap, values):
    stacked = np.asarray(values, float).reshape(len(values), -1)
    sums = bootstrap.sums(np.hstack([stacked, np.ones((len(stacked), 1))]))
    return sums[:, :-1] / sums[:, -1:]


class TestBootstrap:
    def test_a_known_mean_is_covered_about_as_often_as_said(self):
        """200 samples of 60 draws: a 90% interval covers 180 times, give or take 3 deviations of 4.2."""
        rng = np.random.default_rng(0)
        covered = 0
        for seed in range(200):
            values = rng.normal(2.0, 1.0, 60)
            interval = (own := Bootstrap(300, 0.9, seed)).interval(values.mean(), means_of(own, values)[:, 0])
            covered += interval.low <= 2.0 <= interval.high
        assert 165 <= covered <= 195

    def test_the_spread_is_the_standard_error(self):
        values = np.random.default_rng(1).normal(0, 3, 500)
        drawn = means_of(Bootstrap(2_000, 0.95, 0), values)[:, 0]
        assert drawn.std() == pytest.approx(values.std() / np.sqrt(500), rel=0.1)
        interval = Bootstrap(2_000, 0.95, 0).interval(values.mean(), drawn)
        assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(500), rel=0.1)

    def test_it_is_the_same_each_time_and_in_any_chunk(self, monkeypatch):
        values = np.random.default_rng(2).random((40, 3))
        first = means_of(Bootstrap(100, 0.95, 5), values)
        assert_array_equal(first, means_of(Bootstrap(100, 0.95, 5), values))
        assert not np.array_equal(first, means_of(Bootstrap(100, 0.95, 6), values))
        monkeypatch.setattr(bootstrap_module, "CHUNK", 7 * 40)
        assert_allclose(means_of(Bootstrap(100, 0.95, 5), values), first, rtol=1e-12)

    def test_differences_are_paired(self):
        """A model that is better by 0.1 for every user is better by 0.1 in every resample."""
        own = np.random.default_rng(3).random(50)
        bootstrap = Bootstrap(200, 0.95, 0)
        both = [means_of(bootstrap, values)[:, 0] for values in (own + 0.1, own)]
        assert both[0].std() > 0.01
        assert_allclose(both[0] - both[1], 0.1)

    def test_shards_have_draws_of_their_own_and_add_up(self):
        """The spread of a sum over two shards is that of independent draws, not of one draw used twice."""
        values = np.random.default_rng(4).normal(0, 1, (400, 1))
        own = Bootstrap(3_000, 0.95, 0)
        parts = own.sums(values[:200], 0), own.sums(values[200:], 200)
        assert not np.array_equal(own.sums(values[:200], 1), parts[0])
        assert np.corrcoef(parts[0][:, 0], parts[1][:, 0])[0, 1] == pytest.approx(0, abs=0.06)
        assert (parts[0] + parts[1]).std() == pytest.approx(np.sqrt((values**2).sum()), rel=0.05)

    def test_users_are_drawn_as_poisson_with_mean_1(self):
        shares = np.bincount(TIMES.astype(int)) / len(TIMES)
        assert_allclose(shares, [np.exp(-1) / math.factorial(k) for k in range(len(shares))], atol=2e-5)

    def test_users_are_resampled_against_a_naive_loop(self):
        values = np.random.default_rng(4).random(9)
        rng = np.random.default_rng([11, 3])
        expected = []
        for _ in range(5):
            uniform = rng.integers(1 << 16, size=9, dtype=np.uint16)
            expected.append(sum(values[user] * TIMES[uniform[user]] for user in range(9)))
        assert_allclose(Bootstrap(5, 0.95, 11).sums(values[:, None], 3)[:, 0], expected)

    def test_a_resample_that_drew_nobody_does_not_count(self):
        interval = Bootstrap(3, 0.95, 0).interval(1.0, np.array([np.nan, 1.0, 1.0]))
        assert (interval.low, interval.high) == (1.0, 1.0)


class Fixed:
    """A rater that says what it was given, by (user, item)."""

    def __init__(self, said):
        self.said = said

    def predict(self, user, item):
        return np.array([self.said.get(pair, np.nan) for pair in zip(user.tolist(), item.tolist(), strict=True)], "f4")


class TestErrors:
    HOLDOUT = (np.array([0, 0, 2], np.int32), np.array([0, 1, 1], np.int32), np.float32([5, 1, 3]))

    def test_by_hand_clipped_and_by_user(self):
        rater = Fixed({(0, 0): 9.0, (0, 1): 2.0, (2, 1): 1.0})  # 9 is clipped to 5: errors 0, 1, -2
        errors = errors_by_user(rater, Fixed({}), self.HOLDOUT, (1.0, 5.0))
        assert_allclose(errors.squared, [1, 4])
        assert_allclose(errors.absolute, [1, 2])
        assert_allclose(errors.count, [2, 1])
        assert errors.rmse == pytest.approx(np.sqrt(5 / 3))
        assert errors.mae == pytest.approx(1.0)
        assert errors.stood_in == 0

    def test_the_fallback_stands_in_and_is_counted(self):
        rater, fallback = Fixed({(0, 0): 5.0}), Fixed({(0, 0): 1.0, (0, 1): 3.0, (2, 1): 3.0})
        errors = errors_by_user(rater, fallback, self.HOLDOUT, (1.0, 5.0))
        assert errors.stood_in == 2
        assert errors.rmse == pytest.approx(np.sqrt((0 + 4 + 0) / 3))
        assert errors.mae == pytest.approx(2 / 3)

    def test_against_a_naive_loop(self):
        rng = np.random.default_rng(0)
        user, item = rng.integers(0, 20, 200).astype(np.int32), np.arange(200, dtype=np.int32)
        rating, said = rng.integers(1, 6, 200).astype(np.float32), rng.normal(3, 2, 200).astype(np.float32)
        rater = Fixed(dict(zip(zip(user.tolist(), item.tolist(), strict=True), said, strict=True)))
        errors = errors_by_user(rater, Fixed({}), (user, item, rating), (1.0, 5.0))
        off = [min(max(float(s), 1.0), 5.0) - float(r) for s, r in zip(said, rating, strict=True)]
        assert errors.rmse == pytest.approx(np.sqrt(np.mean(np.square(off))))
        assert errors.mae == pytest.approx(np.mean(np.abs(off)))
