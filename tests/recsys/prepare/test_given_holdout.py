"""Joining ratings with a given hold-out: examples."""

import numpy as np
from numpy.testing import assert_array_equal

from recsys.prepare.given_holdout import join_holdout
from recsys.read.stream import Stream


def pairs(joined):
    """(user_id, item_id) of all rows, own ones first."""
    users, items = joined.ids.user_ids.to_pylist(), joined.ids.item_ids.to_pylist()
    blocks = [load() for load in joined.stream.blocks]
    return [(users[u], items[i]) for block in blocks for u, i in zip(block.user_index, block.item_index, strict=True)]


def test_rows_of_both_files_stand_under_one_id_map(make_ratings):
    own, test = [(1, 1, 3.0), (1, 2, 4.0), (2, 1, 5.0)], [(1, 2, 2.0), (3, 1, 1.0), (2, 9, 1.0)]
    joined = join_holdout(Stream.of(make_ratings(own, seen=[(2, 2)])), Stream.of(make_ratings(test, seen=[(3, 9)])))
    assert pairs(joined) == [row[:2] for row in own + test]
    assert (joined.own, joined.given, len(joined.stream)) == (3, True, 6)
    assert_array_equal(joined.stream.user_rows, [3, 2, 1])
    assert_array_equal(np.concatenate([load().rating for load in joined.stream.blocks]), [3, 4, 5, 2, 1, 1])
    assert joined.stream.seen_user_index.tolist() == [1, 2]
    assert joined.stream.seen_item_index.tolist() == [1, 2]


def test_the_hold_out_alone_makes_nobody_a_user(make_ratings):
    own, test = make_ratings([(1, 1, 3.0), (2, 1, 5.0)]), make_ratings([(2, 1, 2.0), (3, 1, 1.0)])
    joined = join_holdout(Stream.of(own), Stream.of(test))
    assert joined.ids.user_ids.to_pylist() == [1, 2, 3]
    assert_array_equal(joined.served, [True, True, False])


def test_a_time_of_0_stands_for_those_that_only_one_file_has(make_ratings):
    own, test = make_ratings([(1, 1, 3.0)], [7]), make_ratings([(2, 1, 2.0)])
    joined = join_holdout(Stream.of(own), Stream.of(test))
    assert [load().timestamp.tolist() for load in joined.stream.blocks] == [[7], [0]]
    assert not joined.timed


def test_without_a_hold_out_the_ratings_are_as_they_were(make_ratings, table):
    stream = Stream.of(make_ratings(table))
    joined = join_holdout(stream, None)
    assert joined.stream is stream
    assert (joined.own, joined.given) == (8, False)
    assert joined.served.all()
