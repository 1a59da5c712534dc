"""Ranking metrics by hand, against naive loops, and against scikit-learn where the definitions coincide."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import average_precision_score, ndcg_score

from recsys.evaluate.ranking import FORMULAS, per_user, relevance


def measured(lists, holdout, n_items, cutoffs):
    pairs = np.array([(user, item) for user in holdout for item in holdout[user]], np.int32).reshape(-1, 2)
    return per_user(relevance(np.asarray(lists, np.int32), pairs[:, 0], pairs[:, 1], n_items), cutoffs)


def naive(listed, wanted, k):
    """One user's metrics by loops over the ranks."""
    hits = [place for place, item in enumerate(listed[:k], 1) if item >= 0 and item in wanted]
    ideal = sum(1 / np.log2(rank + 1) for rank in range(1, min(len(wanted), k) + 1))
    first = next((1 / rank for rank, item in enumerate(listed, 1) if item >= 0 and item in wanted), 0.0)
    return {
        f"ndcg@{k}": sum(1 / np.log2(rank + 1) for rank in hits) / ideal,
        f"precision@{k}": len(hits) / k,
        f"recall@{k}": len(hits) / len(wanted),
        f"hit_rate@{k}": float(bool(hits)),
        f"map@{k}": sum(place / rank for place, rank in enumerate(hits, 1)) / min(len(wanted), k),
        "mrr": first,
    }


def test_by_hand():
    """Held out 7, 8, 9; hits at ranks 1 and 3 of [7, 1, 9, 2]."""
    values = measured([[7, 1, 9, 2]], {0: [7, 8, 9]}, 10, [2, 4])
    ideal = [1 + 1 / np.log2(3), 1 + 1 / np.log2(3) + 0.5]
    expected = {
        "ndcg@2": 1 / ideal[0], "precision@2": 1 / 2, "recall@2": 1 / 3, "hit_rate@2": 1, "map@2": 1 / 2,
        "ndcg@4": 1.5 / ideal[1], "precision@4": 2 / 4, "recall@4": 2 / 3, "hit_rate@4": 1, "map@4": (1 + 2 / 3) / 3,
        "mrr": 1,
    }  # fmt: skip
    assert set(values) == set(expected)
    for name, value in expected.items():
        assert values[name] == pytest.approx([value]), name


@st.composite
def cases(draw):
    n_users, n_items = draw(st.integers(1, 6)), draw(st.integers(1, 10))
    width = draw(st.integers(1, 12))
    lists = np.full((n_users, width), -1, np.int32)
    holdout = {}
    for user in range(n_users):
        own = draw(st.permutations(range(n_items)))[: draw(st.integers(0, width))][:width]
        lists[user, : len(own)] = own
        wanted = draw(st.lists(st.integers(0, n_items - 1), unique=True))
        if wanted:
            holdout[user] = wanted
    return lists, holdout, n_items


@settings(max_examples=150, deadline=None)
@given(cases(), st.lists(st.integers(1, 15), min_size=1, max_size=3))
def test_against_loops(case, cutoffs):
    lists, holdout, n_items = case
    if not holdout:
        return
    values = measured(lists, holdout, n_items, cutoffs)
    for k in cutoffs:
        for place, user in enumerate(sorted(holdout)):
            for name, value in naive(lists[user].tolist(), set(holdout[user]), k).items():
                assert values[name][place] == pytest.approx(value), (name, user)


def test_ndcg_is_scikit_learns():
    rng = np.random.default_rng(0)
    lists = np.array([rng.permutation(30) for _ in range(20)])
    truth = rng.random((20, 30)) < 0.2
    truth[:, 0] = True
    scores = np.empty((20, 30))
    scores[np.arange(20)[:, None], lists] = -np.arange(30.0)
    holdout = {user: np.flatnonzero(row) for user, row in enumerate(truth)}
    for k in (1, 5, 10, 30):
        assert measured(lists, holdout, 30, [k])[f"ndcg@{k}"].mean() == pytest.approx(ndcg_score(truth, scores, k=k))


def test_map_over_the_whole_list_is_scikit_learns_average_precision():
    rng = np.random.default_rng(1)
    lists = np.array([rng.permutation(25) for _ in range(15)])
    truth = rng.random((15, 25)) < 0.3
    truth[:, 3] = True
    values = measured(lists, {user: np.flatnonzero(row) for user, row in enumerate(truth)}, 25, [25])["map@25"]
    for user in range(15):
        scores = np.empty(25)
        scores[lists[user]] = -np.arange(25.0)
        assert values[user] == pytest.approx(average_precision_score(truth[user], scores))


def test_only_users_with_a_held_out_rating_count():
    marked = relevance(np.array([[0], [1], [2]], np.int32), np.array([2, 0], np.int32), np.array([2, 1], np.int32), 3)
    assert_array_equal(marked.relevant, [1, 1])
    assert_array_equal(marked.hits, [[False], [True]])


def test_a_short_list_does_not_hit_by_its_filling():
    """-1 beside user 1 would be the key of user 0's last item."""
    marked = relevance(
        np.array([[0, -1], [0, -1]], np.int32), np.array([0, 1], np.int32), np.array([4, 3], np.int32), 5
    )
    assert not marked.hits.any()


def test_nothing_held_out():
    nothing = np.empty(0, np.int32)
    marked = relevance(np.array([[0, 1]], np.int32), nothing, nothing, 2)
    assert marked.hits.shape == (0, 2)
    assert all(len(value) == 0 for value in per_user(marked, [1]).values())


def test_every_metric_has_a_formula():
    values = measured([[0]], {0: [0]}, 1, [1])
    assert {name.partition("@")[0] for name in values} == set(FORMULAS)
    assert_allclose([value[0] for value in values.values()], 1.0)
