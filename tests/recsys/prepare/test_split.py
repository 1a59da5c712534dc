"""The ways to draw a hold-out."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import ceil

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.model_selection import train_test_split

from recsys.errors import RecsysError
from recsys.identifiers import IdMap
from recsys.prepare.draws import Draws
from recsys.prepare.split import leave_last_split, nth_largest, per_user_split, random_split, time_split

SIZES = st.lists(st.integers(0, 12), min_size=1, max_size=7)  # ratings of each user
PERCENT = st.integers(1, 99)
SEEDS = st.integers(0, 2**32 - 1)


def edges(sizes):
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)


def per_user(sizes, fraction, seed, user_ids=None, first_user=0):
    """Users with ratings of the items 0, 1, 2, ..."""
    indptr = edges(sizes)
    items = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])
    ids = IdMap(pa.array(range(first_user + len(sizes)) if user_ids is None else user_ids), pa.array(range(200)))
    return per_user_split(indptr, items, Draws.of(ids, seed), first_user, fraction)


def by_user(mask, sizes):
    return [mask[start : start + size] for start, size in zip(edges(sizes)[:-1], sizes, strict=True)]


def timed(n):
    """Timestamps with many ties, and the places in the input."""
    return st.tuples(
        st.lists(st.integers(0, 4), min_size=n, max_size=n).map(lambda t: np.array(t, np.int64)),
        st.permutations(range(n)).map(lambda rows: np.array(rows, np.int64)),
    )


# examples


def test_per_user_holds_out_a_fifth_of_each_user():
    sizes = [1, 2, 5, 6, 0]
    assert [int(part.sum()) for part in by_user(per_user(sizes, 0.2, seed=1), sizes)] == [0, 1, 1, 2, 0]


def test_leave_last_takes_the_latest_and_the_later_row_among_equal_times():
    times, rows = np.array([9, 3, 9, 4, 4, 1]), np.array([4, 2, 0, 1, 3, 5])
    assert_array_equal(leave_last_split(edges([3, 2, 1]), times, rows), [True, False, False, False, True, False])


def test_time_begins_with_the_earliest_row_that_is_held_out():
    assert time_split(lambda: [(np.array([5, 1, 5, 5, 0]), np.arange(5))], 5, 0.4) == (5, 2)


@pytest.mark.parametrize("n", [2, 3, 9])
def test_a_random_split_of_few_ratings_leaves_one_to_learn_from(n):
    """ceil(0.95 n) is n for n below 20: scikit-learn refuses that, an operator must not see its traceback."""
    try:
        mask = random_split(n, 0.95, seed=1)
    except RecsysError:
        return
    assert 1 <= int((~mask).sum()) < n


def test_a_single_rating_is_never_held_out():
    assert not random_split(1, 0.5, 1).any()
    assert not per_user([1], 0.5, 1).any()
    assert not leave_last_split(edges([1]), np.array([1]), np.array([0])).any()
    time, row = time_split(lambda: [(np.array([1]), np.array([0]))], 1, 0.99)
    assert time > 1
    assert row > 0


def test_the_seed_decides():
    for draw in (lambda seed: per_user([10] * 20, 0.2, seed), lambda seed: random_split(200, 0.2, seed)):
        assert_array_equal(draw(1), draw(1))
        assert (draw(1) != draw(2)).any()


def test_per_user_draws_at_random_and_not_by_place():
    held = Counter(tuple(np.flatnonzero(per_user([10], 0.2, seed))) for seed in range(300))
    assert len(held) == 45  # all pairs of 10
    of_place = Counter(place for pair, times in held.items() for place in pair for _ in range(times))
    assert set(of_place) == set(range(10))
    assert max(of_place.values()) < 90  # 60 expected, standard deviation 7


# oracles


@given(n=st.integers(2, 300), percent=PERCENT, seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_random_is_scikit_learns_split_row_for_row(n, percent, seed):
    fraction = percent / 100
    if ceil(Fraction(percent, 100) * n) >= n:
        return  # scikit-learn refuses to leave nothing
    rows = [f"row {i}" for i in range(n)]
    train, test = train_test_split(rows, test_size=fraction, random_state=seed)
    mask = random_split(n, fraction, seed)
    assert {rows[i] for i in np.flatnonzero(mask)} == set(test)
    assert {rows[i] for i in np.flatnonzero(~mask)} == set(train)


@given(data=st.data(), sizes=SIZES)
@settings(max_examples=60, deadline=None)
def test_leave_last_is_the_last_of_each_user_by_time_and_row(data, sizes):
    times, rows = data.draw(timed(sum(sizes)))
    expected = np.zeros(len(times), bool)
    for start, size in zip(edges(sizes)[:-1], sizes, strict=True):
        if size > 1:
            expected[max(range(start, start + size), key=lambda at: (times[at], rows[at]))] = True
    assert_array_equal(leave_last_split(edges(sizes), times, rows), expected)


@given(data=st.data(), n=st.integers(1, 40), percent=PERCENT)
@settings(max_examples=60, deadline=None)
def test_time_is_the_tail_of_a_sort_by_time_and_row(data, n, percent):
    times, rows = data.draw(timed(n))
    cut = data.draw(st.integers(0, n))
    n_test = min(ceil(Fraction(percent, 100) * n), n - 1)
    tail = sorted(range(n), key=lambda at: (times[at], rows[at]))[n - n_test :]
    time, row = time_split(lambda: [(times[:cut], rows[:cut]), (times[cut:], rows[cut:])], n, percent / 100)
    assert_array_equal(np.flatnonzero((times > time) | ((times == time) & (rows >= row))), sorted(tail))


@given(values=st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 3) | st.integers(10**9, 10**9 + 10**6), min_size=1),
       data=st.data())  # fmt: skip
def test_the_nth_largest_is_that_of_a_sort(values, data):
    n, cut = data.draw(st.integers(1, len(values))), data.draw(st.integers(0, len(values)))
    pieces = [np.array(values[:cut], np.int64), np.array(values[cut:], np.int64)]
    expected = sorted(values, reverse=True)[n - 1]
    assert nth_largest(lambda: pieces, n) == (expected, n - sum(value > expected for value in values))


# properties


@given(sizes=SIZES, percent=PERCENT, seed=SEEDS)
@example(sizes=[100], percent=7, seed=1)  # 0.07 * 100 is 7.000000000000001 in binary
@example(sizes=[50], percent=14, seed=1)
@settings(max_examples=100, deadline=None)
def test_per_user_holds_out_the_share_rounded_up_and_never_all(sizes, percent, seed):
    for part in by_user(per_user(sizes, percent / 100, seed), sizes):
        n = len(part)
        assert int(part.sum()) == max(min(ceil(Fraction(percent, 100) * n), n - 1), 0)


@given(data=st.data(), sizes=SIZES, percent=PERCENT, seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_every_user_keeps_a_rating(data, sizes, percent, seed):
    times, rows = data.draw(timed(sum(sizes)))
    for mask in (per_user(sizes, percent / 100, seed), leave_last_split(edges(sizes), times, rows)):
        assert all(not part.all() for part in by_user(mask, sizes) if len(part))


@given(sizes=SIZES, percent=PERCENT, seed=SEEDS, before=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_a_user_is_drawn_for_alone(sizes, percent, seed, before):
    """Which users come before, or are in the same piece, leaves a user's draw."""
    ids = [f"user {number}" for number in range(before + len(sizes))]
    together = by_user(per_user(sizes, percent / 100, seed, ids, before), sizes)
    for place, size in enumerate(sizes):
        alone = per_user([size], percent / 100, seed, ids[before + place : before + place + 1])
        assert_array_equal(alone, together[place])
