"""The parts by group: they add up to the whole, and are what a naive loop finds."""

import json

import numpy as np
import pytest
from nights import evaluate_run, make_run

from recsys.evaluate.evaluation import read_lists
from recsys.evaluate.groups import group_names, group_of
from recsys.prepare.shards import Shard
from recsys.train.stage import fit


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("store"))
    fit(run, "ranker")
    fit(run, "rater")
    evaluate_run(run)
    parts, record = (json.loads((run.folder / f"{name}.json").read_text()) for name in ("breakdown", "evaluation"))
    return run, parts, record


def test_groups_add_up_to_the_whole(found):
    _, parts, record = found
    ranker, rater = parts["rankers"][record["ranker"]], parts["raters"][record["rater"]]
    users = [row["users"] for row in ranker["by_activity"]]
    for metric in ("ndcg", "precision", "recall", "hit_rate"):
        mean = np.average([row[metric] for row in ranker["by_activity"]], weights=users)
        assert mean == pytest.approx(record["metrics"][f"{metric}@10"]["value"])
    assert sum(row["listed"] for row in ranker["by_popularity"]) == pytest.approx(1)
    items = np.array([(row["items"], row["items"] * row["coverage"]) for row in ranker["by_popularity"][1:]])
    covered = items.sum(axis=0)
    assert covered[1] / covered[0] == pytest.approx(record["metrics"]["coverage@10"]["value"])
    for rows in (rater["by_activity"], rater["by_popularity"], rater["by_level"]):
        squared = np.average([row["rmse"] ** 2 for row in rows], weights=[row["ratings"] for row in rows])
        assert squared**0.5 == pytest.approx(record["metrics"]["rmse"]["value"])
        assert sum(row["ratings"] for row in rows) == record["protocol"]["held_out_ratings"]
    assert [row["rating"] for row in rater["by_level"]] == [1, 2, 3, 4, 5]
    assert np.sum(rater["density"], axis=1).tolist() == [row["ratings"] for row in rater["by_level"]]


def test_by_popularity_against_a_naive_loop(found):
    run, parts, record = found
    ids, counts = run.prepared.ids, run.prepared.training_set("split").item_counts
    lists = read_lists(run.work / "evaluated" / "00000" / "lists" / record["ranker"], ids, Shard(0, ids.n_users), 20)
    user, item, _ = run.prepared.holdout()
    for row in parts["rankers"][record["ranker"]]["by_popularity"]:
        own = {place for place in range(ids.n_items) if group_names()[group_of(counts[place])] == row["group"]}
        held_out = [(u, i) for u, i in zip(user, item, strict=True) if i in own]
        assert row["items"] == len(own)
        assert row["held_out"] == len(held_out)
        if held_out:
            assert row["found"] == pytest.approx(np.mean([i in lists[u, :10] for u, i in held_out]))
        assert row["coverage"] == pytest.approx(len(own & set(lists[:, :10].ravel().tolist())) / len(own))


def test_calibration_holds_every_rating(found):
    run, parts, record = found
    rows = parts["raters"][record["rater"]]["calibration"]
    _, _, rating = run.prepared.holdout()
    assert sum(row["ratings"] for row in rows) == len(rating)
    assert sum(row["rating"] * row["ratings"] for row in rows) == pytest.approx(rating.sum())
    assert [row["predicted"] for row in rows] == sorted(row["predicted"] for row in rows)
    levels = parts["raters"][record["rater"]]["by_level"]
    predicted = sum(row["predicted"] * row["ratings"] for row in rows)
    assert sum(row["predicted"] * row["ratings"] for row in levels) == pytest.approx(predicted)
    assert [row["predicted"] - row["rating"] for row in levels] == pytest.approx([row["bias"] for row in levels])


def test_without_a_hold_out_there_are_only_lists(tmp_path):
    dense = np.full((4, 3), np.nan)
    dense[np.arange(4), [0, 1, 2, 0]] = 4.0
    run = make_run(tmp_path, dense=dense, refused=())
    fit(run, "ranker")
    fit(run, "rater")
    evaluate_run(run)
    parts = json.loads((run.folder / "breakdown.json").read_text())
    assert parts["raters"]["means"] == {
        "by_activity": [], "by_popularity": [], "by_level": [], "calibration": [], "density": []
    }  # fmt: skip
    ranker = parts["rankers"][run.config.train.ranker]
    assert ranker["by_activity"] == []
    assert all(row["found"] is None and row["held_out"] == 0 for row in ranker["by_popularity"])


def test_shards_make_no_difference(found, tmp_path):
    run = make_run(tmp_path)
    record = json.loads((run.folder / "prepared" / "prepared.json").read_text())
    (run.folder / "prepared" / "prepared.json").write_text(json.dumps(record | {"shards": [0, 7, 8, 30]}))
    fit(run, "ranker")
    fit(run, "rater")
    evaluate_run(run)
    parts = json.loads((run.folder / "breakdown.json").read_text())
    assert list(leaves(parts)) == [pytest.approx(leaf) for leaf in leaves(found[1])]


def leaves(value):
    """All values of a nested record, in their order."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    if children is None:
        yield value
    else:
        for child in children:
            yield from leaves(child)
