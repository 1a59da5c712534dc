"""Leaving ratings out: as if the input had never held them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from recsys.prepare.subset import without


def triples_of(ratings):
    users, items = ratings.user_ids.to_pylist(), ratings.item_ids.to_pylist()
    rows = zip(ratings.user_index, ratings.item_index, ratings.rating, strict=True)
    return [(users[user], items[item], float(rating)) for user, item, rating in rows]


def test_users_items_and_refused_pairs_go_with_their_last_rating(make_ratings, table):
    seen = [(40, 1), (20, 3), (30, 2)]
    ratings = make_ratings(table, timestamps=range(len(table)), seen=seen)
    left_out = np.array([user == 40 or item == 2 for user, item, _ in table])
    rest = without(ratings, left_out)
    assert rest.user_ids.to_pylist() == [10, 20, 30]
    assert rest.item_ids.to_pylist() == [1, 3]
    assert triples_of(rest) == [row for row, gone in zip(table, left_out, strict=True) if not gone]
    assert rest.timestamp.tolist() == np.flatnonzero(~left_out).tolist()
    assert [(rest.user_ids[u].as_py(), rest.item_ids[i].as_py()) for u, i in zip(
        rest.seen_user_index, rest.seen_item_index, strict=True)] == [(20, 3)]  # fmt: skip


def test_nothing_left_out_changes_nothing(ratings):
    rest = without(ratings, np.zeros(len(ratings), dtype=bool))
    assert rest.user_ids.equals(ratings.user_ids)
    assert rest.item_ids.equals(ratings.item_ids)
    for name in ("user_index", "item_index", "rating", "seen_user_index", "seen_item_index"):
        assert_array_equal(getattr(rest, name), getattr(ratings, name))
        assert getattr(rest, name).dtype == getattr(ratings, name).dtype


@given(gone=st.lists(st.booleans(), min_size=8, max_size=8))
def test_it_is_the_input_without_those_rows(make_ratings, table, gone):
    kept = [row for row, away in zip(table, gone, strict=True) if not away]
    rest = without(make_ratings(table), np.array(gone))
    assert triples_of(rest) == kept
    assert rest.user_ids.to_pylist() == sorted({user for user, _, _ in kept})
    assert rest.item_ids.to_pylist() == sorted({item for _, item, _ in kept})
