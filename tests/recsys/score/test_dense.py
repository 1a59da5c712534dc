"""Top-n from dense rows, and nearest items by cosine, against naive twins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix

from recsys.score.cosine import nearest_by_cosine
from recsys.score.dense import BLOCK, all_scores, dense_top_n


def naive(scores, seen, n):
    columns, best = np.full((len(scores), n), -1, np.int32), np.full((len(scores), n), -np.inf, np.float32)
    for user, row in enumerate(scores.astype(np.float32)):
        open_columns = [c for c in range(len(row)) if not seen[user, c] and row[c] > -np.inf]
        for place, column in enumerate(sorted(open_columns, key=lambda c: (-row[c], c))[:n]):
            columns[user, place], best[user, place] = column, row[column]
    return columns, best


@given(st.integers(0, 9), st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_the_best_of_each_row(n_users, n_columns, n, seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-2, 3, (n_users, n_columns)).astype(float)  # many ties
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    seen = rng.random(scores.shape) < 0.3
    allowed = rng.random(n_columns) < 0.7 if seed % 2 else None
    matrix = csr_matrix(seen.astype(np.int8))
    columns, best = dense_top_n(lambda rows: scores[rows].copy(), matrix, n, 2, allowed=allowed)
    wanted = naive(scores, seen if allowed is None else seen | ~allowed, n)
    assert_array_equal(columns, wanted[0])
    assert_array_equal(best, wanted[1])


@pytest.mark.parametrize("n_users", [1, BLOCK - 1, BLOCK, 2 * BLOCK + 3])
def test_blocks_are_always_full(n_users):
    sizes = []

    def score(rows):
        sizes.append(len(rows))
        assert rows.max() < n_users
        return np.outer(rows, [1.0, 2.0])

    assert_allclose(all_scores(score, n_users, 2), np.outer(np.arange(n_users), [1, 2]))
    assert set(sizes) == {BLOCK}


def test_a_row_does_not_depend_on_the_rows_around_it():
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=(600, 33)), rng.normal(size=(33, 47))
    whole = all_scores(lambda rows: users[rows] @ items, 600, 47)
    some = rng.permutation(600)[:271]
    part = all_scores(lambda rows: users[some[rows]] @ items, len(some), 47)
    assert part.tobytes() == whole[some].tobytes()


def test_nearest_by_hand():
    vectors = np.float32([[1, 0], [2, 0.1], [0, 3], [-1, 0], [0, 0], [9, 9]])
    learned = np.array([True, True, True, True, True, False])
    columns, cosines = nearest_by_cosine(vectors, learned, 3, 1)
    assert_array_equal(columns[0], [1, 2, 4])  # a zero vector has the cosine 0, as the right angle has; then by row
    assert_allclose(cosines[0], [2 / np.hypot(2, 0.1), 0, 0], rtol=1e-6)
    assert_array_equal(columns[5], [-1, -1, -1])
    assert 5 not in columns


@given(st.integers(2, 12), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_nearest_as_a_naive_loop_finds_them(n_items, size, seed):
    vectors = np.random.default_rng(seed).normal(size=(n_items, size)).astype(np.float32)
    columns, cosines = nearest_by_cosine(vectors, np.ones(n_items, bool), n_items - 1, 2)
    wide = vectors.astype(float)
    for item in range(n_items):
        all_cosines = wide @ wide[item] / (np.linalg.norm(wide, axis=1) * np.linalg.norm(wide[item]))
        assert item not in columns[item]
        assert_allclose(cosines[item], all_cosines[columns[item]], atol=1e-6)
        assert (np.diff(cosines[item]) <= 0).all()
