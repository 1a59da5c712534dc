"""Features of who rated what, beside NumPy's dense decomposition."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix

from recsys.compute import one_blas_thread
from recsys.train.rated_features import rated_features


@pytest.fixture
def binary():
    dense = np.random.default_rng(0).random((30, 12)) < 0.4
    dense[:12] |= np.eye(12, dtype=bool)
    dense[:, 0] = True
    return csr_matrix(dense.astype(np.float32))


@pytest.mark.parametrize("size", [5, 12, 500])
def test_the_largest_directions_of_the_rows_divided_by_the_root_of_their_counts(binary, size):
    for found, dense in zip(rated_features(binary, size, 1), (binary.toarray(), binary.toarray().T), strict=True):
        unit = dense / np.sqrt(dense.sum(axis=1, keepdims=True))
        left, values, _ = np.linalg.svd(unit, full_matrices=False)
        size = min(size, 12)
        assert_allclose(found.values, values[:size], rtol=1e-6)
        assert_allclose(found.vectors.T @ found.vectors, np.eye(size), atol=1e-9)
        own, expected = found.vectors * found.values, left[:, :size] * values[:size]
        assert_allclose(own @ own.T, expected @ expected.T, atol=1e-6)


def test_threads_do_not_matter(binary):
    with one_blas_thread():
        for one, two in zip(rated_features(binary, 5, 1), rated_features(binary, 5, 2), strict=True):
            assert_array_equal(one.vectors, two.vectors)
            assert_array_equal(one.values, two.values)
