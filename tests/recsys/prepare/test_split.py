"""The ways to draw a hold-out."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.model_selection import train_test_split

from recsys.config import PrepareConfig
from recsys.errors import InputRefused, RecsysError
from recsys.prepare.split import (
    hold_out,
    leave_last_split,
    per_user_split,
    random_split,
    time_split,
)

USERS = st.lists(st.integers(0, 6), min_size=1, max_size=60).map(lambda users: np.array(users, np.int32))
PERCENT = st.integers(1, 99)
SEEDS = st.integers(0, 2**32 - 1)


def timed(users):
    """As many timestamps as users, with many ties."""
    return st.lists(st.integers(0, 4), min_size=len(users), max_size=len(users)).map(lambda t: np.array(t, np.int64))


# examples


def test_per_user_holds_out_a_fifth_of_each_user():
    users = np.repeat(np.arange(4, dtype=np.int32), [1, 2, 5, 6])
    assert_array_equal(np.bincount(users, weights=per_user_split(users, 0.2, seed=1)), [0, 1, 1, 2])


def test_leave_last_takes_the_latest_and_the_later_row_among_equal_times():
    users = np.array([0, 1, 0, 1, 0, 2], np.int32)
    times = np.array([9, 4, 3, 4, 9, 1])
    assert_array_equal(leave_last_split(users, times), [False, False, False, True, True, False])


def test_time_takes_the_latest_of_all_and_later_rows_among_equal_times():
    assert_array_equal(time_split(np.array([5, 1, 5, 5, 0]), 0.4), [False, False, True, True, False])


@pytest.mark.parametrize("split", ["leave-last", "time"])
def test_a_split_in_time_without_timestamps_is_refused(make_ratings, split):
    ratings = make_ratings([(1, 1, 3.0), (1, 2, 3.0)])
    with pytest.raises(InputRefused, match=f"'{split}'.*no timestamps") as refused:
        hold_out(ratings, PrepareConfig(split=split), seed=1)
    assert "--columns timestamp=" in refused.value.todo


def test_hold_out_draws_what_the_configuration_names(make_ratings):
    times = [3, 9, 1, 5, 8, 2, 7, 4]
    ratings = make_ratings([(u, i, 3.0) for u in (1, 2) for i in (1, 2, 3, 4)], times)
    drawn = {
        split: hold_out(ratings, PrepareConfig(split=split, test_fraction=0.5), seed=3)
        for split in ("random", "per-user", "leave-last", "time")
    }
    assert_array_equal(drawn["random"], random_split(8, 0.5, 3))
    assert_array_equal(drawn["per-user"], per_user_split(ratings.user_index, 0.5, 3))
    assert_array_equal(np.flatnonzero(drawn["leave-last"]), [1, 4])
    assert_array_equal(np.flatnonzero(drawn["time"]), [1, 3, 4, 6])


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
    assert not per_user_split(np.array([3], np.int32), 0.5, 1).any()
    assert not leave_last_split(np.array([3], np.int32), np.array([1])).any()
    assert not time_split(np.array([1]), 0.99).any()


def test_the_seed_decides():
    users = np.repeat(np.arange(20, dtype=np.int32), 10)
    for draw in (lambda seed: per_user_split(users, 0.2, seed), lambda seed: random_split(200, 0.2, seed)):
        assert_array_equal(draw(1), draw(1))
        assert (draw(1) != draw(2)).any()


def test_per_user_draws_at_random_and_not_by_place():
    users = np.zeros(10, np.int32)
    held = [tuple(np.flatnonzero(per_user_split(users, 0.2, seed))) for seed in range(30)]
    assert len(set(held)) > 10
    assert {place for pair in held for place in pair} == set(range(10))


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


@given(data=st.data(), users=USERS)
@settings(max_examples=60, deadline=None)
def test_leave_last_is_a_stable_sort_of_each_user(data, users):
    times = data.draw(timed(users))
    expected = np.zeros(len(users), bool)
    for user in set(users.tolist()):
        rows = [row for row in range(len(users)) if users[row] == user]
        if len(rows) > 1:
            expected[sorted(rows, key=lambda row: (times[row], row))[-1]] = True
    assert_array_equal(leave_last_split(users, times), expected)


@given(data=st.data(), users=USERS, percent=PERCENT)
@settings(max_examples=60, deadline=None)
def test_time_is_the_tail_of_a_stable_sort(data, users, percent):
    times = data.draw(timed(users))
    n = len(times)
    n_test = min(ceil(Fraction(percent, 100) * n), n - 1)
    tail = sorted(range(n), key=lambda row: (times[row], row))[n - n_test :]
    assert_array_equal(np.flatnonzero(time_split(times, percent / 100)), sorted(tail))


# properties


@given(users=USERS, percent=PERCENT, seed=SEEDS)
@example(users=np.zeros(100, np.int32), percent=7, seed=1)  # 0.07 * 100 is 7.000000000000001 in binary
@example(users=np.zeros(50, np.int32), percent=14, seed=1)
@settings(max_examples=100, deadline=None)
def test_per_user_holds_out_the_share_rounded_up_and_never_all(users, percent, seed):
    mask = per_user_split(users, percent / 100, seed)
    for user in set(users.tolist()):
        n = int((users == user).sum())
        assert int(mask[users == user].sum()) == min(ceil(Fraction(percent, 100) * n), n - 1)


@given(data=st.data(), users=USERS, percent=PERCENT, seed=SEEDS)
@settings(max_examples=60, deadline=None)
def test_every_user_keeps_a_rating(data, users, percent, seed):
    masks = (per_user_split(users, percent / 100, seed), leave_last_split(users, data.draw(timed(users))))
    for mask in masks:
        assert set(users[~mask].tolist()) == set(users.tolist())


@given(users=USERS, percent=PERCENT, seed=SEEDS)
@settings(max_examples=40, deadline=None)
def test_a_user_is_counted_alone(users, percent, seed):
    """The labels of the users do not matter: gaps and order of user_index leave the counts."""
    relabelled = (6 - users) * 3
    before, after = (per_user_split(which, percent / 100, seed) for which in (users, relabelled))
    for user in set(users.tolist()):
        assert_array_equal(np.flatnonzero(before & (users == user)), np.flatnonzero(after & (users == user)))
