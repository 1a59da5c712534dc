"""The records' protocol on real ratings: its counts are the published ones, and the ranker past EASE is past it."""

import numpy as np
import pytest

from benchmarks import ranking_records
from benchmarks.ranking_records import BASELINE, ENTRIES, LEAST, WINNER, liked, measure_split, paired_tests, report
from recsys.config import ComputeConfig
from recsys.prepare.split import per_user_split


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
    monkeypatch.setattr(ranking_records, "ENTRIES", {name: ENTRIES[name] for name in (BASELINE, WINNER)})
    measured = measure_split(pairs, seed=0, compute=ComputeConfig(threads=2))
    winner, ease = (measured[name]["ndcg@10"] for name in (WINNER, BASELINE))
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
