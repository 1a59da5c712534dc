"""Inner products of pairs against exact sums; a pair's own, whatever the company."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from recsys.score.products import pair_products


def tables(size, seed=0):
    draw = np.random.default_rng(seed)
    return draw.normal(0, 1, (30, size)).astype(np.float32), draw.normal(0, 1, (20, size)).astype(np.float32)


def pairs(n, seed=1):
    draw = np.random.default_rng(seed)
    return draw.integers(0, 30, n).astype(np.int32), draw.integers(0, 20, n).astype(np.int32)


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 8, 63, 64])
def test_they_are_the_exact_sums(size):
    left, right = tables(size)
    row, other = pairs(200)
    exact = [math.fsum(left[a].astype(float) * right[b].astype(float)) for a, b in zip(row, other, strict=True)]
    assert_allclose(pair_products(left, right, row, other), exact, rtol=1e-13, atol=1e-13)


@given(st.integers(1, 70), st.integers(0, 2**31))
def test_a_pair_alone_is_the_pair_among_others(size, seed):
    left, right = tables(size, seed)
    row, other = pairs(40, seed)
    whole = pair_products(left, right, row, other)
    for place in range(0, 40, 7):
        alone = pair_products(left, right, row[place : place + 1], other[place : place + 1])
        assert alone.tobytes() == whole[place : place + 1].tobytes()


def test_mapped_tables_give_the_same(tmp_path):
    left, right = tables(64)
    np.save(tmp_path / "left.npy", left)
    mapped = np.load(tmp_path / "left.npy", mmap_mode="r")
    row, other = pairs(100)
    assert pair_products(mapped, right, row, other).tobytes() == pair_products(left, right, row, other).tobytes()


def test_no_pairs():
    nothing = np.empty(0, np.int32)
    assert pair_products(*tables(4), nothing, nothing).shape == (0,)
