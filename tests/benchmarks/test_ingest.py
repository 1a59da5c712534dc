"""The peers' ways beside ours: the same ratings kept, with the same preferences."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from benchmarks import ingest
from recsys.config import ComputeConfig, DemoConfig
from recsys.demo import generate
from recsys.prepare.means import rows_of
from recsys.prepare.prepared import Prepared

SHAPE, COMPUTE = DemoConfig(users=60, items=80, ratings=900), ComputeConfig(threads=1)


@pytest.mark.parametrize("way", ingest.PEERS)
def test_a_peer_has_our_preferences(tmp_path, monkeypatch, way):
    pytest.importorskip(way)
    monkeypatch.setattr(ingest, "TOP_ITEMS", 40)
    for name in ("in", "ours", "theirs"):
        (tmp_path / name).mkdir()
    generate(SHAPE, tmp_path / "in", threads=1)
    ingest.WAYS["recsys"](tmp_path / "in", tmp_path / "ours", COMPUTE)
    ingest.WAYS[way](tmp_path / "in", tmp_path / "theirs", COMPUTE)
    prepared = Prepared(tmp_path / "ours")
    full = prepared.training_set("all")
    theirs = pq.read_table(tmp_path / "theirs" / "ratings.parquet")
    assert_array_equal(theirs["userId"], np.asarray(prepared.ids.user_ids)[rows_of(full.ratings)])
    assert_array_equal(theirs["movieId"], np.asarray(prepared.ids.item_ids)[full.items][full.ratings.indices])
    assert_allclose(theirs["preference"], full.preferences.data, atol=1e-6)


def test_rows_are_data_and_a_peer_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr(ingest, "find_spec", lambda way: None)
    rows = ingest.compare(SHAPE, COMPUTE)
    assert [row["way"] for row in rows] == ["recsys", "polars", "duckdb"]
    assert rows[0].keys() == {"way", "ratings", "threads", "seconds", "cpu_seconds", "peak_mib", "ratio", "cpu_ratio"}
    assert rows[0]["ratio"] == rows[0]["cpu_ratio"] == 1
    assert rows[1] == {"way": "polars", "ratings": 900, "threads": 1, "missing": "not installed"}
