"""The records' protocol on real ratings: its counts are the published ones, and the ranker past EASE is past it."""

import numpy as np
import pytest

from benchmarks import ranking_records
from benchmarks.ranking_records import (
    BASELINES,
    ENTRIES,
    LEAST,
    WINNER,
    liked,
    measure_split,
    paired_tests,
    per_user_split,
    report,
)  # fmt: skip
from recsys.config import ComputeConfig


@pytest.fixture(scope="module")
def pairs(mirror):
    return liked(mirror)


def test_filter_and_split_have_the_published_counts(pairs):
    user, item = pairs
    assert (user.max() + 1, item.max() + 1, len(user)) == (5_949, 2_810, 571_531)
    assert per_user_split(user, 0.2, seed=0).sum() == 116_671
    assert np.bincount(user).min() >= LEAST
    assert np.bincount(item).min() >= LEAST


def test_the_winner_is_past_ease_and_past_what_was_promised(pairs, monkeypatch):
    names = (BASELINES[0], "weighted_edlae")
    monkeypatch.setattr(ranking_records, "ENTRIES", {name: ENTRIES[name] for name in names})
    measured = measure_split(pairs, seed=0, compute=ComputeConfig(threads=2))
    ease, winner = (measured[name]["ndcg@10"] for name in names)
    assert len(winner) == len(ease) == 5_949
    assert 0.33 < ease.mean() < 0.345 <= winner.mean()
    difference = winner - ease
    assert difference.mean() / (difference.std() / np.sqrt(len(difference))) > 5


def test_the_table_and_the_tests_are_by_hand():
    """Two splits of three users; the mean over splits is taken by user before it is tested."""
    base = {"recall@10": np.full(3, 0.5), "precision@10": np.full(3, 0.1), "seconds": np.array([2.0])}
    values = {name: base | {"ndcg@10": np.array([0.1, 0.2, 0.3])} for name in ENTRIES}
    better = [{**values, WINNER: base | {"ndcg@10": np.array(row)}} for row in ([0.2, 0.3, 0.7], [0.4, 0.4, 0.4])]
    lines = report(better).splitlines()
    assert len(lines) == 2 + len(ENTRIES)
    row = f"| {WINNER} | 0.4000 | 0.4000 | 0.4000 | 0.0000 |  | 0.5000 | 0.1000 | 2.0 |"
    assert lines[-1] == row
    text = paired_tests(better)
    assert text.count("+0.2000") == 9  # two splits and their mean, against three others
    assert text.count("  mean: +0.2000, t = 6.9") == 3  # of 0.2, 0.15 and 0.25: 0.2 / (0.05 / sqrt(3))


def test_settings_are_chosen_on_the_training_part_alone(monkeypatch):
    """A grid is tried on 20% of what is learned from, and only the best of it meets the held-out ratings."""
    rng = np.random.default_rng(0)
    user, item = (index.astype(np.int32) for index in np.nonzero(rng.random((60, 30)) < 0.5))
    met = []

    def spy(model, settings, training_set, held, seed, compute):
        met.append((settings["reg"], training_set.ratings.nnz, len(held[0])))
        return {"ndcg@10": np.array([settings["reg"]]), "seconds": np.array([0.0])}

    entry = ranking_records.Entry("ease", ({"reg": 1.0}, {"reg": 3.0}, {"reg": 2.0}))
    monkeypatch.setattr(ranking_records, "ENTRIES", {"one": entry})
    monkeypatch.setattr(ranking_records, "measure", spy)
    measure_split((user, item), seed=0, compute=ComputeConfig(threads=1))
    *tried, last = met
    assert [reg for reg, _, _ in met] == [1.0, 3.0, 2.0, 3.0]
    assert last[1] + last[2] == len(user)
    assert all(learned + held == last[1] for _, learned, held in tried)
