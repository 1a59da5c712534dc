"""64 comparisons at once, and the two kernels, against NumPy's."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recsys.compute import compiled
from recsys.score.lanes import LANES, ROWS, WIDTH, at_least, lowest_bit, network_kernel, product_kernel


@compiled
def passing(row, start, least):
    """Places from the lowest on."""
    found = np.full(LANES, -1)
    bits, count = at_least(row, start, least), 0
    while bits != 0:
        found[count] = lowest_bit(bits)
        bits &= bits - np.uint64(1)
        count += 1
    return found[:count]


SCORES = arrays.arrays(
    np.float32, 2 * LANES, elements=st.sampled_from([np.float32(x) for x in (-np.inf, -1, -0.0, 0, 1, 3e38)])
)


@settings(deadline=None)
@given(SCORES, st.integers(0, LANES), st.sampled_from([-np.inf, -3.4e38, 0.0, 1.0, np.inf]))
def test_the_bits_are_those_of_a_comparison(row, start, least):
    expected = np.flatnonzero(row[start : start + LANES] >= np.float32(least))
    assert passing(row, start, np.float32(least)).tolist() == expected.tolist()


def test_nan_passes_nothing():
    assert passing(np.full(LANES, np.nan, np.float32), 0, np.float32(-np.inf)).tolist() == []


@compiled
def both_kernels(users, items, weights):
    """(2, ROWS, LANES): of the second panel of users and the second of items."""
    size, out = len(weights), np.full((2, ROWS, LANES), np.float32(7.0))
    flat = out.reshape(-1)
    product_kernel(users, ROWS * size, items, WIDTH * size, size, flat, 0)
    network_kernel(users, ROWS * size, items, WIDTH * size, size, flat, ROWS * LANES, weights)
    return out


@settings(deadline=None)
@given(st.integers(1, 70), st.integers(0, 1_000))
def test_the_kernels_sum_over_the_factors(size, seed):
    rng = np.random.default_rng(seed)
    users, items = rng.integers(-9, 9, (2, size, ROWS)), rng.integers(-9, 9, (2, size, WIDTH))  # exact in float32
    weights = rng.integers(-9, 9, size)
    out = both_kernels(*(each.astype(np.float32).ravel() for each in (users, items, weights)))
    np.testing.assert_array_equal(out[0, :, :WIDTH], users[1].T @ items[1])
    active = np.maximum(users[1][:, :, None] + items[1][:, None, :], 0)
    np.testing.assert_array_equal(out[1, :, :WIDTH], np.einsum("k,kri->ri", weights, active))
    assert (out[:, :, WIDTH:] == 7.0).all()
