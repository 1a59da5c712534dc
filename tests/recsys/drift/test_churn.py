"""How much of a list stayed: hand-computed examples, naive twins, and what must always hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.drift import churn
from recsys.drift.churn import overlap, rank_biased_overlap


def lists(*rows):
    return np.array(rows, dtype=np.int32)


def naive_rbo(now, before, p=0.9):
    n = len(now)
    both = [len({x for x in now[:d] if x >= 0} & {x for x in before[:d] if x >= 0}) / d for d in range(1, n + 1)]
    weights = [p ** (d - 1) for d in range(1, n + 1)]
    return sum(w * a for w, a in zip(weights, both, strict=True)) / sum(weights)


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], 1.0),
        ([1, 2, 3], [3, 2, 1], 1.0),
        ([1, 2, 3], [4, 5, 6], 0.0),
        ([1, 2, 3], [1, 5, -1], 1 / 3),
        ([1, -1, -1], [1, -1, -1], 1.0),  # what fills a short list up is no item in common
        ([-1, -1, -1], [-1, -1, -1], 1.0),
        ([-1, -1, -1], [1, -1, -1], 0.0),
    ],
)
def test_overlap(now, before, expected):
    assert overlap(lists(now), lists(before)) == pytest.approx([expected])


def test_rank_biased_overlap_by_hand():
    # depths 1, 2, 3: nothing in common, one of two, two of three; weights 1, 0.9, 0.81
    expected = (0.9 * 0.5 + 0.81 * 2 / 3) / (1 + 0.9 + 0.81)
    assert rank_biased_overlap(lists([1, 2, 3]), lists([2, 4, 1])) == pytest.approx([expected])


some_list = st.lists(st.integers(0, 8), unique=True, min_size=5, max_size=5)


@given(st.lists(st.tuples(some_list, some_list), min_size=1, max_size=20), st.integers(0, 4))
def test_it_equals_the_naive_twin(pairs, gone):
    now, before = (np.array(side, dtype=np.int32) for side in zip(*pairs, strict=True))
    before[:, 5 - gone :] = -1
    found = rank_biased_overlap(now, before)
    np.testing.assert_allclose(found, [naive_rbo(*pair) for pair in zip(now, before, strict=True)])
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(rank_biased_overlap(now, now), 1.0)


def test_the_size_of_a_block_does_not_matter(monkeypatch):
    rng = np.random.default_rng(3)
    now, before = (np.argsort(rng.random((50, 12)))[:, :10].astype(np.int32) for _ in range(2))
    whole = overlap(now, before), rank_biased_overlap(now, before)
    monkeypatch.setattr(churn, "PAIRS", 1)
    np.testing.assert_array_equal(overlap(now, before), whole[0])
    np.testing.assert_array_equal(rank_biased_overlap(now, before), whole[1])
