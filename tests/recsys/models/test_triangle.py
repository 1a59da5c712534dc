"""Sums that become a matrix in their own memory, whatever its size, their type and the threads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from recsys.models.triangle import Triangle, entries, row_start, sum_type


def filled(n, largest, seed=0):
    """A triangle of random sums, and the same as a dense matrix made by NumPy's own indices."""
    triangle = Triangle.zeros(n, largest)
    triangle.sums[:] = np.random.default_rng(seed).integers(0, largest, entries(n), np.uint64, endpoint=True)
    dense = np.zeros((n, n))
    dense[np.triu_indices(n)] = triangle.sums
    return triangle, dense


class TestAsMatrix:
    @given(st.integers(1, 60), st.sampled_from([2**32 - 1, 2**53]), st.integers(1, 3), st.integers(0, 9))
    def test_each_sum_stands_in_its_place(self, n, largest, threads, seed):
        triangle, dense = filled(n, largest, seed)
        assert_array_equal(np.triu(triangle.as_matrix(threads)), dense)

    @pytest.mark.parametrize("largest", [2**32 - 1, 2**53])
    def test_many_rows_in_threads(self, largest):
        triangle, dense = filled(1_500, largest)
        assert_array_equal(np.triu(triangle.as_matrix(4)), dense)

    def test_it_takes_no_memory_of_its_own(self):
        triangle, _ = filled(40, 9)
        room = triangle.room
        assert np.shares_memory(triangle.sums, room)
        assert triangle.as_matrix(1) is room
        assert room.flags.owndata  # so that half of it can be given back

    def test_nothing_is_a_matrix_too(self):
        assert Triangle.zeros(0, 1).as_matrix(1).shape == (0, 0)


def test_the_smaller_type_that_holds_them():
    assert sum_type(2**32 - 1) == np.uint32
    assert sum_type(2**32) == np.uint64


def test_rows_follow_each_other():
    assert [row_start(row, 4) + row for row in range(4)] == [0, 4, 7, 9]
    assert entries(4) == 10
