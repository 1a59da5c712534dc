"""Coverage, novelty, diversity and concentration by hand and by loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.sparse import csr_matrix

from recsys.evaluate import lists as metrics

COUNTS = np.array([4, 2, 1, 0, 1])


def times(rows, n_items=5):
    """How often each item stands in the lists."""
    listed = np.ravel(rows)
    return np.bincount(listed[listed >= 0], minlength=n_items)


def test_coverage_is_of_the_items_with_a_rating():
    assert metrics.coverage(times([[0, 1], [0, -1]]), COUNTS) == 2 / 4
    assert metrics.coverage(times([[-1]]), COUNTS) == 0.0
    assert metrics.coverage(times([[-1]], 3), np.zeros(3, int)) == 0.0


def test_novelty_in_bits():
    """Of 8 users 4 rated item 0 (1 bit), 2 item 1 (2 bits); an item without a rating counts as rated once (3 bits)."""
    assert metrics.novelty(times([[0, 1], [0, -1]]), COUNTS, 8) == pytest.approx((1 + 2 + 1) / 3)
    assert metrics.novelty(times([[3]]), COUNTS, 8) == pytest.approx(3.0)
    assert metrics.novelty(times([[-1]]), COUNTS, 8) == 0.0


def test_gini_by_hand():
    assert metrics.gini(times([[0, 1], [2, 4]]), COUNTS) == pytest.approx(0.0)
    assert metrics.gini(times([[0], [0]]), COUNTS) == pytest.approx(3 / 4)  # one of four items: 1 - 1 / n
    assert metrics.gini(times([[0, 1], [0, -1]]), COUNTS) == pytest.approx((-3 * 0 - 1 * 0 + 1 * 1 + 3 * 2) / (4 * 3))
    assert metrics.gini(times([[-1]]), COUNTS) == 0.0


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 5), unique=True, min_size=3, max_size=3), min_size=1, max_size=8))
def test_gini_is_the_mean_absolute_difference_over_twice_the_mean(rows):
    counted = times(rows, 6)
    expected = np.abs(counted[:, None] - counted[None, :]).mean() / (2 * counted.mean())
    assert metrics.gini(counted, np.ones(6, int)) == pytest.approx(expected)


#            item 10 11 12 (of column 0 1 2); item 13 is not among the columns
BINARY = csr_matrix(np.array([[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]], np.float32))
COLUMN_OF = np.array([-1] * 10 + [0, 1, 2, -1])


def diversity(lists, rows, column_of):
    return metrics.diversity(lists, metrics.item_distances(lists, rows, column_of))


def test_diversity_by_hand():
    """cos(10, 11) = 2 / sqrt(3 x 2); item 12 shares no user with them, item 13 with no one."""
    close = 1 - 2 / np.sqrt(6)
    found = diversity(np.array([[10, 11, -1]]), [BINARY], COLUMN_OF)
    assert found == pytest.approx(close)
    found = diversity(np.array([[10, 11, 12], [10, 13, -1]]), [BINARY], COLUMN_OF)
    assert found == pytest.approx((close + 1 + 1 + 1) / 4)
    assert diversity(np.array([[10, 13, 12]]), [BINARY], COLUMN_OF) == pytest.approx(1.0)
    assert diversity(np.array([[10]]), [BINARY], COLUMN_OF) == 0.0
    assert diversity(np.array([[-1, -1]]), [BINARY], COLUMN_OF) == 0.0


def test_diversity_against_loops_however_the_users_are_cut():
    rng = np.random.default_rng(0)
    binary = (rng.random((40, 15)) < 0.3).astype(np.float32)
    binary[:, 7] = 0  # an item without a rating that was learned from
    lists = np.array([rng.permutation(15)[:5] for _ in range(30)])
    lists[3, 2:] = -1
    column_of = np.arange(15)

    def distance(i, j):
        size = np.sqrt(max(binary[:, i].sum(), 1) * max(binary[:, j].sum(), 1))
        return 1 - (binary[:, i] * binary[:, j]).sum() / size

    pairs = [distance(i, j) for row in lists for a, i in enumerate(row) for j in row[a + 1 :] if i >= 0 and j >= 0]
    whole = csr_matrix(binary)
    for rows in ([whole], [whole[:1], whole[1:7], whole[7:7], whole[7:]]):
        assert_allclose(diversity(lists, rows, column_of), np.mean(pairs), rtol=1e-6)
        first = lists[:, :3]  # distances of whole lists serve their beginnings
        assert metrics.diversity(first, metrics.item_distances(lists, rows, column_of)) == diversity(
            first, rows, column_of
        )


def test_the_sample_is_seeded_bounded_and_in_order():
    first, other = metrics.sampled_users(10_000, 0), metrics.sampled_users(10_000, 1)
    assert len(first) == metrics.SAMPLE_USERS
    assert (np.diff(first) > 0).all()
    assert (metrics.sampled_users(10_000, 0) == first).all()
    assert (first != other).any()
    assert metrics.sampled_users(7, 0).tolist() == list(range(7))
