"""64 comparisons at once against NumPy's, and that the processor does them side by side."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from recsys.compute import compiled
from recsys.score.lanes import LANES, at_least, lowest_bit


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


ROWS = arrays.arrays(
    np.float32, 2 * LANES, elements=st.sampled_from([np.float32(x) for x in (-np.inf, -1, -0.0, 0, 1, 3e38)])
)


@settings(deadline=None)
@given(ROWS, st.integers(0, LANES), st.sampled_from([-np.inf, -3.4e38, 0.0, 1.0, np.inf]))
def test_the_bits_are_those_of_a_comparison(row, start, least):
    expected = np.flatnonzero(row[start : start + LANES] >= np.float32(least))
    assert passing(row, start, np.float32(least)).tolist() == expected.tolist()


def test_nan_passes_nothing():
    assert passing(np.full(LANES, np.nan, np.float32), 0, np.float32(-np.inf)).tolist() == []
