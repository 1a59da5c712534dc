"""The scoring benchmark on little work: every way that is installed lists what the naive sort lists."""

import numpy as np
import pytest

from benchmarks import scoring


@pytest.fixture(autouse=True)
def _little(monkeypatch):
    monkeypatch.setattr(scoring, "N_ITEMS", 600)
    monkeypatch.setattr(scoring, "CHECKED", 7)
    ways = {
        name: way for name, way in scoring.WAYS.items() if not name.startswith("TensorFlow")
    }  # its import takes 5 s
    monkeypatch.setattr(scoring, "WAYS", ways)


def test_rows_and_report(monkeypatch):
    monkeypatch.setattr(scoring, "_module", lambda name: None)
    measured = scoring.measure_all(None, n_users=40, threads=2, rounds=2)
    assert measured["work"]["implicit ALS of ml-1m"] == {"missing": "no ml-1m.zip in the mirror"}
    rows = {row["way"]: row for row in measured["work"]["log-normal lengths"]["rows"]}
    for name in ("ours, product", "ours, pruning", "ours, automatic", "NumPy argpartition"):
        assert rows[name]["equal"] == 1.0
        assert rows[name]["to_implicit"] is None
        assert rows[name]["to_bare"] > 0
    assert (rows["bare product"]["to_bare"], rows["bare product"]["equal"]) == (1.0, None)
    assert rows["implicit"] == {"way": "implicit", "missing": "not installed"}
    text = "\n".join(scoring.report(measured))
    assert "**implicit ALS of ml-1m**: no ml-1m.zip in the mirror." in text
    assert "| implicit | not installed |" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {9}


def test_naive_lists_leave_out_what_was_seen():
    work = scoring.random_work(5, skewed=True)
    assert (np.diff(work.seen.indptr) == scoring.SEEN).all()
    for user, columns in scoring.naive_lists(work, np.arange(5)).items():
        scores = work.items.astype(float) @ work.users[user].astype(float)
        assert not set(columns) & set(work.seen[user].indices)
        assert (np.diff(scores[columns]) < 0).all()


def test_a_list_that_differs_is_counted():
    naive = {0: np.array([1, 2]), 3: np.array([4, 5])}
    lists = np.array([[1, 2], [0, 0], [0, 0], [5, 4]])
    assert scoring._as_naive(lists, naive) == 0.5
