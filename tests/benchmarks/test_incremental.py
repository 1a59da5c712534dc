"""The benchmark of the incremental Gram matrix, on a few ratings."""

import numpy as np
import pytest

from benchmarks import incremental

SMALL = {"dataset": "demo", "demo": {"users": 300, "items": 60, "ratings": 6_000}}


def test_a_row_for_each_kind_of_news(monkeypatch):
    monkeypatch.setattr(incremental, "DATASETS", {"small": SMALL})
    monkeypatch.setattr(incremental, "TURNS", 1)
    rows = list(incremental.rows())
    assert [row["new"] for row in rows] == list(incremental.NEWS)
    for row in rows:
        assert 0 < row["rows_changed"] <= 60  # 1% of the ratings are of no more users than that
        assert 0 < row["work"] < 0.5
        assert row["full_cpu_seconds"] > 0
        assert row["incremental_seconds"] > 0


@pytest.mark.parametrize("kind", incremental.NEWS)
def test_one_in_a_hundred_ratings_is_new(kind, monkeypatch):
    taken = []
    monkeypatch.setattr(incremental, "DATASETS", {"small": SMALL})
    monkeypatch.setattr(incremental, "compare", lambda *_: {})
    news = incremental.NEWS[kind]
    monkeypatch.setattr(
        incremental, "NEWS", {kind: lambda ratings: taken.append((ratings, news(ratings))) or taken[0][1]}
    )
    list(incremental.rows())
    ratings, mask = taken[0]
    assert mask.sum() == 60
    if kind == "the latest":
        assert ratings.timestamp[mask].min() >= ratings.timestamp[~mask].max()
    if kind == "new users":
        assert np.unique(ratings.user_index[mask]).size < 20
