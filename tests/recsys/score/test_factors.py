"""Top-n of a factor model against a full sort of exact scores, near ties included."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.sparse import csr_matrix

from recsys.score import factors
from recsys.score.factors import factor_scores, factor_top_n, product_error

NOBODY = 0  # a user whose vector is 0


def vectors(seed, n, size, spread=1.0):
    return (spread * np.random.default_rng(seed).normal(size=(n, size))).astype(np.float32)


def summed_in_order(users, items):
    """(n_users, n_columns) float32 of the float64 sums over the factors, one after the other."""
    total = np.zeros((len(users), len(items)))
    for factor in range(users.shape[1]):
        total += np.outer(users[:, factor].astype(np.float64), items[:, factor].astype(np.float64))
    return total.astype(np.float32)


def sorted_columns(scores, seen, n):
    """(n_users, n) by (score descending, column ascending), -1 where a list is short."""
    columns = np.full((len(scores), n), -1, np.int32)
    for user, row in enumerate(scores):
        order = [column for column in np.argsort(-row, kind="stable") if not seen[user, column]]
        columns[user, : len(order[:n])] = order[:n]
    return columns


def example(seed, n_users=23, n_columns=60, size=9):
    """Vectors of users and of items, and what is seen; every third item nearly equals the one before it."""
    users, items = vectors(seed, n_users, size), vectors(seed + 1, n_columns, size)
    users[NOBODY] = 0.0
    items[2::3] = np.nextafter(items[1::3], np.float32(2.0))
    items[50] = items[40]
    seen = np.random.default_rng(seed + 2).random((n_users, n_columns)) < 0.2
    seen[5], seen[6, 3:] = True, True
    return users, items, seen


def test_scores_are_the_sums_in_order():
    users, items, _ = example(0)
    assert_array_equal(factor_scores(users, items, threads=2), summed_in_order(users, items))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 70), st.integers(1, 40))
def test_top_n_is_the_full_sort_of_the_scores(seed, n, size):
    users, items, seen = example(seed, size=size)
    scores = factor_scores(users, items, threads=1)
    columns, best = factor_top_n(users, items, csr_matrix(seen), n, threads=2)
    assert_array_equal(columns, sorted_columns(scores, seen, n))
    stands = columns >= 0
    assert_array_equal(best[stands], np.take_along_axis(scores, np.maximum(columns, 0), axis=1)[stands])
    assert np.all(best[~stands] == -np.inf)


@pytest.mark.parametrize("size", [8, 64, 257])
def test_items_that_the_product_cannot_tell_apart_are_ordered_by_the_exact_score(size):
    """Hundreds of items within a few last bits of each other, under cancellation: float32 sums order them by chance."""
    users = vectors(3, 8, size, spread=100.0)
    base = vectors(4, 1, size, spread=100.0)
    jitter = np.random.default_rng(5).integers(-2, 3, (300, size))
    items = (base * (1 + jitter * 2.0**-23)).astype(np.float32)
    scores = factor_scores(users, items, threads=1)
    rough = users @ items.T
    seen = np.zeros(scores.shape, bool)
    columns, _ = factor_top_n(users, items, csr_matrix(scores.shape), 10, threads=1)
    assert_array_equal(columns, sorted_columns(scores, seen, 10))
    assert not np.array_equal(columns, sorted_columns(rough, seen, 10))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("rows", [1, 4, 1_000])
def test_blocks_and_threads_do_not_matter(threads, rows, monkeypatch):
    users, items, seen = example(7)
    expected = factor_top_n(users, items, csr_matrix(seen), 5, threads=2)
    monkeypatch.setattr(factors, "BLOCK_BYTES", rows * 4 * len(items))
    found = factor_top_n(users, items, csr_matrix(seen), 5, threads)
    assert all(left.tobytes() == right.tobytes() for left, right in zip(found, expected, strict=True))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 17, 64]), st.sampled_from([1e-25, 1e-18, 1.0, 1e15]))
def test_the_product_errs_less_than_its_bound(seed, size, spread):
    """Against exact rational sums."""
    users, items = vectors(seed, 3, size, spread), vectors(seed + 1, 4, size, spread)
    rough, published, bound = users @ items.T, factor_scores(users, items, threads=1), product_error(users, items)
    for user, row in enumerate(users):
        for column, item in enumerate(items):
            exact = sum(Fraction(float(a)) * Fraction(float(b)) for a, b in zip(row, item, strict=True))
            off = abs(Fraction(float(rough[user, column])) - exact)
            assert off <= Fraction(float(bound[user]))
            assert abs(Fraction(float(published[user, column])) - exact) + off <= Fraction(float(bound[user]))


def test_nobody_and_nothing():
    items = vectors(1, 6, 4)
    columns, scores = factor_top_n(vectors(0, 0, 4), items, csr_matrix((0, 6)), 3, threads=2)
    assert columns.shape == scores.shape == (0, 3)
    assert factor_scores(vectors(0, 0, 4), items, threads=1).shape == (0, 6)
