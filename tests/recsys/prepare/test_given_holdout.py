"""Joining ratings with a given hold-out: examples."""

import numpy as np
from numpy.testing import assert_array_equal

from recsys.prepare.given_holdout import join_holdout


def pairs(joined, mask):
    users, items = joined.ratings.user_ids.to_pylist(), joined.ratings.item_ids.to_pylist()
    index = zip(joined.ratings.user_index[mask], joined.ratings.item_index[mask], strict=True)
    return {(users[user], items[item]) for user, item in index}


def test_a_pair_of_both_files_is_the_hold_outs(make_ratings):
    joined = join_holdout(
        make_ratings([(1, 1, 3.0), (1, 2, 4.0), (2, 1, 5.0)]), make_ratings([(1, 2, 2.0), (3, 1, 1.0), (2, 9, 1.0)])
    )
    assert pairs(joined, ~joined.held_out) == {(1, 1), (2, 1)}
    assert pairs(joined, joined.held_out) == {(1, 2), (3, 1), (2, 9)}
    assert_array_equal(np.sort(joined.ratings.rating), [1.0, 1.0, 2.0, 3.0, 5.0])


def test_the_hold_out_alone_makes_nobody_a_user(make_ratings):
    joined = join_holdout(make_ratings([(1, 1, 3.0), (2, 1, 5.0)]), make_ratings([(2, 1, 2.0), (3, 1, 1.0)]))
    assert joined.ratings.user_ids.to_pylist() == [1, 2, 3]
    assert_array_equal(joined.served, [True, True, False])
