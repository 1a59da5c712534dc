"""A Gram matrix brought up to date is the one computed in full, to the bit; what is damaged is found out."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_array_equal

from recsys.models import gram_update
from recsys.models.cooccurrence import WeightedRows, upper_gram, user_weights
from recsys.models.gram_update import OldGram, Unusable, updated_gram

USERS, ITEMS = 9, 8
UNIVERSE = arrays(np.bool_, (USERS, ITEMS))
SOME_USERS = st.sets(st.integers(0, USERS - 1), min_size=1).map(sorted)
SOME_ITEMS = st.sets(st.integers(0, ITEMS - 1), min_size=1).map(sorted)


def rows_of(rated, power=0.7, untrained=()):
    weight = user_weights(rated.sum(axis=1), power)
    weight[[user for user in untrained if user < len(weight)]] = 0
    indptr = np.append(0, np.cumsum(rated.sum(axis=1))).astype(np.int64)
    return WeightedRows(indptr, np.nonzero(rated)[1].astype(np.uint32), weight, rated.shape[1])


def places(then, now, size):
    """Where each of `now` stood in `then`, -1 where it did not."""
    place = np.full(size, -1, np.int32)
    place[then] = np.arange(len(then))
    return place[now]


def old_gram(rows, user_of=None, column_of=None):
    users, columns = np.arange(len(rows.weight)), np.arange(rows.n_columns)
    return OldGram(
        upper_gram(rows, 1).sums,
        rows.largest,
        rows,
        np.int32(users if user_of is None else user_of),
        np.int32(columns if column_of is None else column_of),
    )


def assert_full(gram, rows):
    """The sums of an update may be of the larger type, where both nights' largest together ask for it."""
    expected = upper_gram(rows, 2)
    assert_array_equal(gram.sums, expected.sums)
    assert np.triu(gram.as_matrix(2)).tobytes() == np.triu(expected.as_matrix(1)).tobytes()


@pytest.fixture(autouse=True)
def _whatever_it_costs(request, monkeypatch):
    if "costs" not in request.node.name:
        monkeypatch.setattr(gram_update, "MOST_WORK", np.inf)


def large(seed=0, shape=(60, 40)):
    return np.random.default_rng(seed).random(shape) < 0.3


class TestUpdate:
    @given(
        UNIVERSE, UNIVERSE, SOME_USERS, SOME_USERS, SOME_ITEMS, SOME_ITEMS,
        st.sampled_from([0.0, 0.7, 2.0]), st.sets(st.integers(0, USERS)), st.sampled_from([1, 300, 1 << 20]),
    )  # fmt: skip
    def test_it_is_the_full_matrix(self, then, now, old_users, users, old_items, items, power, untrained, at_once):
        """Users and items come, go and return; rows and weights change; some users are not learned from."""
        old_rows = rows_of(then[np.ix_(old_users, old_items)], power, untrained)
        rows = rows_of(now[np.ix_(users, items)], power, {user + 1 for user in untrained})
        old = old_gram(old_rows, places(old_users, users, USERS), places(items, old_items, ITEMS))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gram_update, "AT_ONCE", at_once)
            updated = updated_gram(old, rows, 1)
        assert_full(updated.gram, rows)

    @pytest.mark.parametrize("threads", [1, 2, 7])
    @pytest.mark.parametrize("changes", [0, 1, 30, 2000])
    @pytest.mark.parametrize("shape", [(60, 40), (30, 2 * gram_update.BLOCK + 7)])
    def test_threads_blocks_and_the_number_of_changes_do_not_matter(self, threads, changes, shape):
        x, rng = large(shape=shape), np.random.default_rng(changes)
        y = x.copy()
        y[tuple(rng.integers(0, size, changes) for size in shape)] ^= True
        rows = rows_of(y)
        updated = updated_gram(old_gram(rows_of(x)), rows, threads)
        assert_full(updated.gram, rows)
        assert updated.changed == (x != y).any(axis=1).sum()

    def test_sums_beyond_32_bits(self):
        x = np.ones((1500, 3), bool)  # 2^22 each: from below 2^32 to above, and back
        few, many = rows_of(x[:1000], 2.0), rows_of(x, 2.0)
        assert few.largest < 2**32 < many.largest
        more = updated_gram(old_gram(few, places(range(1000), range(1500), 1500)), many, 1)
        assert_full(more.gram, many)
        back = updated_gram(old_gram(many, np.arange(1000)), few, 1)
        assert_full(back.gram, few)

    def test_what_costs_more_than_half_of_the_whole_is_refused(self):
        x = large()
        with pytest.raises(Unusable, match="too much"):
            updated_gram(old_gram(rows_of(x)), rows_of(~x), 1)
        x[3, :2] = ~x[3, :2]
        updated_gram(old_gram(rows_of(large())), rows_of(x), 1)


class TestDamage:
    """Every kind is found out: what is said is `Unusable`, never another matrix, and never a crash."""

    def test_a_wrong_sum(self):
        x = large()
        for place in (0, 1, 57, -1):
            for bit in (0, 7, 31):
                old = old_gram(rows_of(x))
                old.sums[place] ^= np.uint32(1 << bit)
                with pytest.raises(Unusable, match="damaged"):
                    updated_gram(old, rows_of(large(1)), 2)

    def test_sums_cut_short(self):
        old = old_gram(rows_of(large()))
        with pytest.raises(Unusable, match="damaged"):
            updated_gram(OldGram(old.sums[:-1], old.largest, old.rows, old.user_of, old.column_of), old.rows, 1)

    @pytest.mark.parametrize("column", [3, 40, 2**32 - 1])
    def test_a_wrong_column_of_last_night(self, column):
        rows = rows_of(large())
        old = old_gram(rows)
        columns = rows.columns.copy()
        columns[100] = column if columns[100] != column else 4
        wrong = WeightedRows(rows.indptr, columns, rows.weight, rows.n_columns)
        with pytest.raises(Unusable, match="damaged"):
            updated_gram(OldGram(old.sums, old.largest, wrong, old.user_of, old.column_of), rows, 1)

    @pytest.mark.parametrize("place", [0, 5, -1])
    def test_wrong_edges_of_last_nights_rows(self, place):
        rows = rows_of(large())
        old = old_gram(rows)
        indptr = rows.indptr.copy()
        indptr[place] += 1_000_000
        wrong = WeightedRows(indptr, rows.columns, rows.weight, rows.n_columns)
        with pytest.raises(Unusable, match="damaged"):
            updated_gram(OldGram(old.sums, old.largest, wrong, old.user_of, old.column_of), rows, 1)

    def test_another_power(self):
        x = large()
        x[0] = True
        old = old_gram(rows_of(x, 0.7))
        weighs = rows_of(x, 0.5)
        with pytest.raises(Unusable, match="damaged"):
            updated_gram(OldGram(old.sums, old.largest, weighs, old.user_of, old.column_of), weighs, 1)

    @given(arrays(np.int64, (USERS + 1,), elements=st.integers(0, 20)), arrays(np.uint32, (20,)), UNIVERSE)
    def test_whatever_stands_in_last_nights_rows(self, edges, columns, now):
        """Random rows: told as damaged, or right all the same."""
        rows = rows_of(now)
        old = old_gram(rows)
        edges = np.concatenate(([0], np.sort(edges[1:-1]), [20])).astype(np.int64)
        weight = user_weights(np.diff(edges), 0.7)
        wrong = OldGram(old.sums, old.largest, WeightedRows(edges, columns, weight, ITEMS), old.user_of, old.column_of)
        with contextlib.suppress(Unusable):
            assert_full(updated_gram(wrong, rows, 1).gram, rows)
