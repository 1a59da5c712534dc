"""Means over samples written by hand."""

import numpy as np
from numpy.testing import assert_allclose
from scipy.sparse import csr_matrix

from recsys.train.gibbs import Sample
from recsys.train.mean_product import MeanProduct
from recsys.train.posterior import Means, _pairs


def sample(scale):
    """Three users and two items of one factor; all numbers in proportion to `scale`."""
    users, items = np.array([[1.0, 0.5], [2.0, 0.0], [-1.0, 1.0]]), np.array([[3.0, -0.5], [1.0, 0.25]])
    users, items = users * [1.0, scale], items * [scale, scale]
    return Sample(users, items, 2.0 / scale, np.array([scale]), np.empty(0), True)


def test_the_mean_of_two_samples():
    means = Means(MeanProduct(4), np.array([0, 1, 2]), np.array([0, 1, 1], dtype=np.int32))
    means.add(sample(1.0))
    means.add(sample(3.0))
    found = means.posterior(np.array([1.0, 2.0]), 0.0, 1.0)
    assert_allclose(found.user_bias, [1.0, 0.0, 2.0])
    assert_allclose(found.item_bias, [-1.0, 0.5])
    assert_allclose(found.user_factors @ found.item_factors.T, 2 * np.outer([1, 2, -1], [3, 1]), rtol=1e-6)
    assert_allclose(found.scale.thresholds, [2.0])
    assert found.scale.noise == 1.0
    # Scores at scale 1 are 3, 2.25 and 0.25; at scale 3 three times as much: variances are the squares of those.
    assert_allclose(found.scale.variance, np.mean(np.square([3.0, 2.25, 0.25])))
    assert found.user_factors.dtype == found.item_bias.dtype == np.float32


def test_pairs_have_the_users_and_items_of_the_ratings_as_often():
    given = csr_matrix(np.random.default_rng(0).random((12, 9)) < 0.5).astype(float)
    user, column = _pairs(given, seed=1)
    assert_allclose(np.bincount(user, minlength=12), np.diff(given.indptr))
    assert_allclose(np.bincount(column, minlength=9), np.bincount(given.indices, minlength=9))
