"""The mean of products, beside the dense mean."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from recsys.train.mean_product import MeanProduct


def mean_of(pairs, rank):
    mean = MeanProduct(rank)
    for left, right in pairs:
        mean.add(left, right)
    return mean.factors()


@given(samples=st.integers(1, 9), size=st.integers(1, 3), seed=st.integers(0, 99))
def test_with_rank_enough_it_is_the_dense_mean(samples, size, seed):
    rng = np.random.default_rng(seed)
    pairs = [(rng.normal(size=(7, size)), rng.normal(size=(5, size))) for _ in range(samples)]
    left, right = mean_of(pairs, rank=5)
    assert_allclose(left @ right.T, sum(one @ other.T for one, other in pairs) / samples, atol=1e-9)


def test_it_is_the_best_product_of_its_rank_where_samples_agree():
    rng = np.random.default_rng(1)
    left, right = rng.normal(size=(40, 6)) * 3.0 ** -np.arange(6), rng.normal(size=(30, 6))
    pairs = [(left @ turn, right @ turn) for turn in (np.linalg.qr(rng.normal(size=(6, 6)))[0] for _ in range(20))]
    own = mean_of(pairs, rank=3)
    vectors, values, back = np.linalg.svd(left @ right.T)
    best = (vectors[:, :3] * values[:3]) @ back[:3]
    assert own[0].shape == (40, 3)
    assert_allclose(own[0] @ own[1].T, best, atol=1e-8)
    assert_allclose(np.linalg.norm(own[0], axis=0), np.linalg.norm(own[1], axis=0))


def test_samples_are_copied():
    left, right = np.ones((3, 1)), np.ones((2, 1))
    mean = MeanProduct(1)
    mean.add(left, right)
    left[:] = 9.0
    one, other = mean.factors()
    assert_allclose(one @ other.T, np.ones((3, 2)))


@pytest.mark.parametrize("rank", [1, 4])
def test_more_samples_than_are_kept_waiting(rank):
    pairs = [(np.full((6, 1), value), np.ones((5, 1))) for value in range(1, 30)]
    left, right = mean_of(pairs, rank)
    assert_allclose(left @ right.T, np.full((6, 5), 15.0))
