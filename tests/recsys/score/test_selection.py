"""The compiled passes against naive twins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix

from recsys.score import linear
from recsys.score.linear import largest_contribution, linear_top_n
from recsys.score.selection import contains, empty_lists, fill_from_order, select

# Few distinct values, some nearer to each other than float32 can tell, and columns left out.
SCORES = st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-9, 1.0 - 1e-9, -2.5, 3.0, 1e30, -1e30, -np.inf])


@settings(deadline=None)
@given(arrays.arrays(np.float64, st.integers(1, 40), elements=SCORES), st.integers(1, 12))
def test_select_is_a_full_sort_by_float32_score_then_column(scores, n):
    columns, best = empty_lists(1, n)
    select(scores.copy(), columns[0], best[0])
    rounded = scores.astype(np.float32)
    order = sorted((c for c in range(len(scores)) if rounded[c] != -np.inf), key=lambda c: (-rounded[c], c))[:n]
    assert_array_equal(columns[0], order + [-1] * (n - len(order)))
    assert_array_equal(best[0], [*rounded[order], *[-np.inf] * (n - len(order))])


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), unique=True), st.integers(-1, 31), st.integers(0, 5), st.integers(0, 5))
def test_contains_looks_in_its_slice_only(values, wanted, start, less):
    ordered = np.array(sorted(values), np.int32)
    stop = max(start, len(ordered) - less)
    start, stop = min(start, len(ordered)), min(stop, len(ordered))
    assert contains(ordered, start, stop, wanted) == (wanted in ordered[start:stop].tolist())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_fill_from_order_is_the_naive_loop(data):
    n_items, n = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 8))
    n_users = data.draw(st.integers(1, 5))
    order = np.array(data.draw(st.permutations(range(n_items))), np.int32)[: data.draw(st.integers(0, n_items))]
    seen = csr_matrix(data.draw(arrays.arrays(np.int8, (n_users, n_items), elements=st.integers(0, 1))))
    lists = np.full((n_users, n), -1, np.int32)
    for user in range(n_users):
        unseen = np.setdiff1d(np.arange(n_items), seen[user].indices)
        own = data.draw(st.permutations(unseen.tolist()))[: data.draw(st.integers(0, n))]
        lists[user, : len(own)] = own
    expected = lists.copy()
    for user in range(n_users):
        own = [item for item in expected[user].tolist() if item >= 0]
        own += [i for i in order.tolist() if i not in own and i not in seen[user].indices]
        expected[user] = (own + [-1] * n)[:n]
    fill_from_order(0, n_users, order, seen.indptr, seen.indices, lists)
    assert_array_equal(lists, expected)


def random_rows(seed, n_users=30, n_columns=17):
    rng = np.random.default_rng(seed)
    values = csr_matrix(np.where(rng.random((n_users, n_columns)) < 0.3, rng.normal(size=(n_users, n_columns)), 0))
    seen = csr_matrix((rng.random((n_users, n_columns)) < 0.4).astype(np.int8))
    return values.astype(np.float32), seen, rng.normal(size=(n_columns, n_columns)).astype(np.float32)


def test_linear_top_n_multiplies_rows_by_the_weights_and_leaves_out_seen_columns():
    values, seen, weights = random_rows(0)
    scores = values.toarray().astype(np.float64) @ weights.astype(np.float64)
    scores[seen.toarray() > 0] = -np.inf
    columns, best = linear_top_n(values, seen, weights, 5, threads=2)
    assert_array_equal(columns, np.argsort(-scores, axis=1, kind="stable")[:, :5])
    assert_allclose(best, -np.sort(-scores, axis=1)[:, :5], rtol=1e-5)
    assert not np.allclose(scores, values.toarray() @ weights.T)


def in_order(values, weights):
    """(n_users, n_columns) float32 of the float64 sums over a row's entries, one after the other."""
    sums = np.zeros((values.shape[0], weights.shape[1]))
    for user in range(values.shape[0]):
        for entry in range(values.indptr[user], values.indptr[user + 1]):
            sums[user] += np.float64(values.data[entry]) * weights[values.indices[entry]].astype(np.float64)
    return sums.astype(np.float32)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000), st.sampled_from([1, 15, 16, 17, 64, 129, 200]), st.sampled_from([1, 4, 30, 250]),
    st.sampled_from([1, 7, 1_024]), st.sampled_from([1, 3]), st.booleans(), st.booleans(),
    st.sampled_from([None, 0.0, 0.3, 0.95, 1.0]),
)  # fmt: skip
def test_linear_top_n_is_the_full_sort_for_any_block_strip_and_threads(
    seed, n_columns, n, block, threads, wide, ties, share
):
    allowed = None if share is None else np.random.default_rng(seed + 1).random(n_columns) < share
    values, seen, _ = random_rows(seed, 20, n_columns)
    weights = np.random.default_rng(seed).normal(size=(n_columns, n_columns)).astype(np.float32)
    if ties:  # whole numbers: most scores are another column's too, and a row without entries has only ties
        values.data, weights = np.rint(values.data), np.rint(weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear, "BLOCK", block)
        patch.setattr(linear, "WIDE_ROWS", n_columns if wide else 0)
        columns, best = linear_top_n(values, seen, weights, n, threads, allowed=allowed)
    scores = in_order(values, weights)
    scores[seen.toarray() > 0] = -np.inf
    scores[:, ~allowed if allowed is not None else []] = -np.inf
    for user, row in enumerate(scores):
        order = np.argsort(-row, kind="stable")[: np.isfinite(row).sum()][:n]
        assert_array_equal(columns[user], [*order, *[-1] * (n - len(order))])
        assert_array_equal(best[user], [*row[order], *[-np.inf] * (n - len(order))])


def test_linear_top_n_of_nobody_and_of_unsorted_seen_columns():
    values, seen, weights = random_rows(3)
    assert linear_top_n(values[:0], seen[:0], weights, 4, 2)[0].shape == (0, 4)
    expected = linear_top_n(values, seen, weights, 4, 2)
    backwards = seen.copy()
    for user in range(30):
        own = slice(seen.indptr[user], seen.indptr[user + 1])
        backwards.indices[own] = seen.indices[own][::-1]
    assert_array_equal(linear_top_n(values, backwards, weights, 4, 2)[0], expected[0])


def test_largest_contribution_counts_the_value_too():
    values, _, weights = random_rows(1)
    columns = np.random.default_rng(2).integers(-1, 17, (30, 4)).astype(np.int32)
    reasons = largest_contribution(values, weights, columns, threads=2)
    for user in range(30):
        own = values[user].indices
        for place, column in enumerate(columns[user]):
            added = values[user].data.astype(np.float64) * weights[own, column].astype(np.float64)
            expected = own[np.argmax(added)] if column >= 0 and len(own) else -1
            assert reasons[user, place] == expected
