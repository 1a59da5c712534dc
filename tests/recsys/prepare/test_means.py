"""Centring by overall, item and user means."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix

from recsys.prepare.means import Means, rows_of


def csr(triples, shape):
    """CSR with ascending columns in which every triple stays stored, a 0 too."""
    ordered = sorted(triples)
    counts = np.bincount([row for row, _, _ in ordered], minlength=shape[0])
    indptr = np.concatenate(([0], np.cumsum(counts)))
    values = np.array([value for _, _, value in ordered], np.float32)
    return csr_matrix((values, np.array([column for _, column, _ in ordered], np.int32), indptr), shape=shape)


@st.composite
def matrices(draw):
    """Up to 6 x 5, rows and columns without ratings among them, half stars from 0 to 5."""
    n_users, n_items = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    pairs = draw(st.sets(st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1)), min_size=1))
    return csr([(*pair, draw(st.integers(0, 10)) / 2) for pair in sorted(pairs)], (n_users, n_items))


@pytest.fixture
def matrix(table):
    return csr([(user // 10 - 1, item - 1, rating) for user, item, rating in table], (4, 3))


# examples


def test_the_means_of_the_table(matrix):
    means = Means.learn(matrix)
    assert means.overall == 3.0
    assert_array_equal(means.item, [1.0, 0.0, -1.0])
    assert_allclose(means.user, [1 / 2, 1 / 3, -1.0, 0.0], rtol=1e-15)


def test_the_preferences_of_the_table(matrix):
    preferences = Means.learn(matrix).preferences(matrix)
    assert preferences.dtype == np.float32
    expected = [[1 / 2, -1 / 2, 0], [-1 / 3, -1 / 3, 2 / 3], [0, 0, 0], [0, 0, 0]]
    assert_allclose(preferences.toarray(), expected, atol=1e-7)


def test_a_preference_of_exactly_0_stays_a_stored_entry(matrix):
    preferences = Means.learn(matrix).preferences(matrix)
    assert preferences.nnz == 8
    assert_array_equal(preferences.indices, matrix.indices)
    assert_array_equal(preferences.data[rows_of(preferences) >= 2], np.zeros(3))


def test_a_user_and_an_item_without_ratings_have_mean_0():
    means = Means.learn(csr([(0, 0, 4.0), (0, 2, 2.0)], (3, 4)))
    assert (means.overall, means.item.tolist(), means.user.tolist()) == (3.0, [1, 0, -1, 0], [0, 0, 0])


def test_no_ratings_at_all():
    means = Means.learn(csr_matrix((2, 3), dtype=np.float32))
    assert (means.overall, means.item.tolist(), means.user.tolist()) == (0.0, [0, 0, 0], [0, 0])


def test_rows_of_skips_empty_rows():
    assert_array_equal(rows_of(csr([(1, 0, 1.0), (1, 1, 1.0), (3, 0, 1.0)], (4, 2))), [1, 1, 3])


# oracles


@given(matrices())
@settings(max_examples=80, deadline=None)
def test_means_are_those_of_pandas(matrix):
    frame = pd.DataFrame({"user": rows_of(matrix), "item": matrix.indices, "rest": matrix.data.astype("float64")})
    overall = frame["rest"].mean()
    frame["rest"] -= overall
    item = frame.groupby("item")["rest"].mean()
    frame["rest"] -= frame["item"].map(item)
    user = frame.groupby("user")["rest"].mean()
    means = Means.learn(matrix)
    assert_allclose(means.overall, overall, atol=1e-12)
    assert_allclose(means.item, item.reindex(range(matrix.shape[1]), fill_value=0.0), atol=1e-12)
    assert_allclose(means.user, user.reindex(range(matrix.shape[0]), fill_value=0.0), atol=1e-12)


def test_means_are_subtracted_in_float64_and_rounded_once():
    """(8e6 + 1/2) - 8e6 is 0 in float32: a scale far from 0 must not lose the preference to an intermediate rounding.

    Ratings 8,000,000 and 8,000,001 are float32; their mean is not.
    """
    matrix = csr([(0, 0, 8_388_608.0), (0, 1, 8_388_609.0), (1, 0, 8_388_610.0), (1, 1, 8_388_610.0)], (2, 2))
    means = Means.learn(matrix)
    value = matrix.data.astype(np.float64) - means.overall - means.item[matrix.indices] - means.user[rows_of(matrix)]
    assert_array_equal(means.preferences(matrix).data, value.astype(np.float32))


# properties


@given(matrices())
@settings(max_examples=80, deadline=None)
def test_uncentring_undoes_centring(matrix):
    means = Means.learn(matrix)
    preferences = means.preferences(matrix)
    restored = preferences.data + means.overall + means.item[preferences.indices] + means.user[rows_of(preferences)]
    assert_allclose(restored, matrix.data, atol=2e-6)


@given(matrices())
@settings(max_examples=80, deadline=None)
def test_the_preferences_of_a_user_sum_to_0(matrix):
    sums = np.asarray(Means.learn(matrix).preferences(matrix).sum(axis=1)).ravel()
    assert_allclose(sums, np.zeros(matrix.shape[0]), atol=5e-6)


@given(matrices())
@settings(max_examples=40, deadline=None)
def test_the_pattern_and_the_ratings_are_left_alone(matrix):
    before = matrix.copy()
    preferences = Means.learn(matrix).preferences(matrix)
    assert_array_equal(preferences.indptr, before.indptr)
    assert_array_equal(preferences.indices, before.indices)
    assert_array_equal(matrix.data, before.data)
