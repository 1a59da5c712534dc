"""The filter of the most rated items and the matrices that models learn from."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from recsys.prepare.means import rows_of
from recsys.prepare.training_set import build_training_set, by_popularity, most_rated


@st.composite
def parts(draw):
    """user_index, item_index, rating in any order, one a pair, and the shape of the whole input."""
    shape = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    pairs = draw(st.lists(st.tuples(*(st.integers(0, n - 1) for n in shape)), min_size=1, max_size=30, unique=True))
    user, item = (np.array(side, np.int32) for side in zip(*pairs, strict=True))
    rating = draw(st.lists(st.integers(0, 5), min_size=len(pairs), max_size=len(pairs)))
    return user, item, np.array(rating, np.float32), shape


def build(ratings, top_items=0, min_user_ratings=1):
    return build_training_set(
        ratings.user_index, ratings.item_index, ratings.rating, (ratings.n_users, ratings.n_items),
        top_items=top_items, min_user_ratings=min_user_ratings,
    )  # fmt: skip


# examples


def test_the_table(ratings):
    part = build(ratings)
    assert_array_equal(part.items, [0, 1, 2])
    assert_array_equal(part.ratings.toarray(), [[5, 3, 0], [4, 3, 3], [3, 0, 1], [0, 0, 2]])
    assert_array_equal(part.binary.toarray(), [[1, 1, 0], [1, 1, 1], [1, 0, 1], [0, 0, 1]])
    assert_array_equal(part.item_counts, [3, 2, 3])
    assert_array_equal(part.item_sums, [12.0, 6.0, 6.0])
    assert part.trained.all()
    assert (part.n_users, part.n_items) == (4, 3)
    assert part.ratings.dtype == part.binary.dtype == part.preferences.dtype == np.float32


def test_the_top_two_items_are_kept_and_the_means_are_theirs(ratings):
    part = build(ratings, top_items=2)
    assert_array_equal(part.items, [0, 2])
    assert_array_equal(part.column_of, [0, -1, 1])
    assert_array_equal(part.ratings.toarray(), [[5, 0], [4, 3], [3, 1], [0, 2]])
    assert_array_equal(part.item_counts, [3, 2, 3])  # of every item, kept or not
    assert part.means.overall == 3.0
    assert_array_equal(part.means.item, [1.0, -1.0])
    assert_array_equal(part.means.user, [1.0, 0.5, -1.0, 0.0])


def test_a_tie_in_ratings_goes_to_the_lower_id():
    assert_array_equal(most_rated(np.array([2, 3, 2, 2]), 2), [0, 1])
    assert_array_equal(most_rated(np.array([2, 2, 2, 3]), 3), [0, 1, 3])
    assert_array_equal(by_popularity(np.array([2, 3, 2, 3])), [1, 3, 0, 2])


def test_a_tie_in_ratings_goes_to_the_lower_id_among_many_items():
    """More than 16 equal keys: an unstable sort would show."""
    assert_array_equal(most_rated(np.full(1000, 7), 100), np.arange(100))


def test_0_keeps_all_items_that_have_a_rating_in_this_part():
    assert_array_equal(most_rated(np.array([0, 4, 0, 1]), 0), [1, 3])
    assert_array_equal(most_rated(np.array([0, 4, 0, 1]), 3), [1, 3])


def test_users_with_few_ratings_are_not_learned_from_but_keep_their_history(ratings):
    part = build(ratings, min_user_ratings=2)
    assert_array_equal(part.trained, [True, True, True, False])
    assert_array_equal(part.ratings[3].toarray(), [[0, 0, 2]])
    assert part.learned.shape == part.ratings.shape
    assert part.learned[3].nnz == part.preferences[3].nnz == part.binary[3].nnz == 0
    assert part.learned.nnz == part.binary.nnz == 7
    assert_allclose(part.means.overall, 22 / 7)
    assert part.means.user[3] == 0.0


def test_ratings_are_counted_on_the_items_kept(ratings):
    part = build(ratings, top_items=1, min_user_ratings=1)  # item 0 alone, which user 3 has not rated
    assert_array_equal(part.trained, [True, True, True, False])


def test_an_untrained_user_between_others_leaves_their_rows_alone():
    user, item = np.array([0, 0, 1, 2, 2], np.int32), np.array([0, 1, 1, 0, 1], np.int32)
    part = build_training_set(
        user, item, np.array([1, 2, 3, 4, 5], np.float32), (3, 2), top_items=0, min_user_ratings=2
    )
    assert_array_equal(part.learned.toarray(), [[1, 2], [0, 0], [4, 5]])


def test_a_rating_of_0_is_a_stored_entry():
    user, item = np.array([0, 1, 1], np.int32), np.array([0, 1, 0], np.int32)
    part = build_training_set(user, item, np.array([0, 0, 2], np.float32), (2, 2), top_items=0, min_user_ratings=1)
    assert_array_equal(part.ratings.indptr, [0, 1, 3])
    assert_array_equal(part.ratings.data, [0, 2, 0])
    assert_array_equal(part.binary.toarray(), [[1, 0], [1, 1]])


# oracles and properties


@given(part=parts(), top_items=st.integers(0, 7), least=st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_a_naive_loop_builds_the_same(part, top_items, least):
    user, item, rating, shape = part
    counts = Counter(item.tolist())
    ranked = sorted(counts, key=lambda i: (-counts[i], i))
    items = sorted(ranked[:top_items] if top_items else ranked)
    cells = {
        (u, items.index(i)): r
        for u, i, r in zip(user.tolist(), item.tolist(), rating.tolist(), strict=True)
        if i in items
    }
    built = build_training_set(user, item, rating, shape, top_items=top_items, min_user_ratings=least)
    assert built.items.tolist() == items
    stored = zip(rows_of(built.ratings).tolist(), built.ratings.indices.tolist(), strict=True)
    assert dict(zip(stored, built.ratings.data.tolist(), strict=True)) == cells
    assert built.ratings.nnz == len(cells)
    per_user = Counter(u for u, _ in cells)
    assert built.trained.tolist() == [per_user[u] >= least for u in range(shape[0])]
    learned = zip(rows_of(built.learned).tolist(), built.learned.indices.tolist(), strict=True)
    assert set(learned) == {cell for cell in cells if per_user[cell[0]] >= least}
    assert built.item_counts.tolist() == [counts[i] for i in range(shape[1])]
    assert_allclose(built.item_sums, [rating[item == i].sum() for i in range(shape[1])])
    assert_array_equal(built.preferences.indices, built.learned.indices)
    assert_array_equal(built.binary.indices, built.learned.indices)


@given(part=parts(), seed=st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_columns_ascend_and_the_order_of_the_input_does_not_matter(part, seed):
    user, item, rating, shape = part
    shuffled = np.random.default_rng(seed).permutation(len(user))
    one = build_training_set(user, item, rating, shape, top_items=0, min_user_ratings=1)
    other = build_training_set(user[shuffled], item[shuffled], rating[shuffled], shape, top_items=0, min_user_ratings=1)
    for row in range(shape[0]):
        columns = one.ratings.indices[one.ratings.indptr[row] : one.ratings.indptr[row + 1]]
        assert (np.diff(columns) > 0).all()
    for name in ("data", "indices", "indptr"):
        assert_array_equal(getattr(one.ratings, name), getattr(other.ratings, name))


@given(part=parts(), top_items=st.integers(0, 7))
@settings(max_examples=40, deadline=None)
def test_columns_and_items_are_inverse(part, top_items):
    built = build_training_set(*part, top_items=top_items, min_user_ratings=1)
    assert_array_equal(built.column_of[built.items], np.arange(len(built.items)))
    assert_array_equal(np.flatnonzero(built.column_of >= 0), built.items)


# real data


@pytest.fixture(scope="module")
def ml_1m(archives):
    return archives.read_ml_1m()


def test_ml_1ms_500_most_rated_items(ml_1m, from_frame):
    part = build(from_frame(ml_1m), top_items=500)
    assert part.ratings.nnz == part.preferences.nnz == 530_109
    assert int(part.trained.sum()) == 6_040
    assert len(part.items) == 500
    assert f"{part.preferences.data.min():.3f}" == "-4.643"
    assert f"{part.preferences.data.max():.3f}" == "3.923"


def test_ml_1ms_preferences_are_those_of_pandas(ml_1m, from_frame):
    counts = ml_1m["item_id"].value_counts()
    kept = sorted(sorted(counts.index, key=lambda item: (-counts[item], item))[:500])
    frame = ml_1m[ml_1m["item_id"].isin(kept)].sort_values(["user_id", "item_id"])
    rest = frame["rating"] - frame["rating"].mean()
    rest -= rest.groupby(frame["item_id"]).transform("mean")
    rest -= rest.groupby(frame["user_id"]).transform("mean")
    ratings = from_frame(ml_1m)
    part = build(ratings, top_items=500)
    assert ratings.item_ids.take(part.items).to_pylist() == kept
    assert_array_equal(pd.factorize(frame["user_id"], sort=True)[0], rows_of(part.preferences))
    assert_allclose(part.preferences.data, rest, atol=1e-6)
