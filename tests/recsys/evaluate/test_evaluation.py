"""A whole evaluation on tables in the published format, against the naive way; and the stage that writes it."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from nights import config_of, evaluate_run, make_run
from numpy.testing import assert_array_equal

from recsys import tables
from recsys.evaluate import stage
from recsys.evaluate.evaluation import FORMULAS, read_lists
from recsys.prepare.shards import Shard
from recsys.train.stage import fit, fitted_on_split, load_ranker

K = 10


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("store"))
    fit(run, "ranker")
    fit(run, "rater")
    outcome = evaluate_run(run)
    return run, outcome, json.loads(outcome.file.read_text())


def naive_lists(run, score):
    """Each user's items by (score descending, item ascending), none rated in training."""
    prepared = run.prepared
    training_set, held_out = prepared.training_set("split"), np.asarray(prepared.array("held_out"))
    item = prepared.array("item_index")
    user = np.repeat(np.arange(prepared.ids.n_users), np.diff(prepared.array("indptr")))
    lists = []
    for each in range(prepared.ids.n_users):
        seen = set(item[(user == each) & ~held_out].tolist()) | ({2} if each == 1 else set())  # the refused pair
        lists.append(
            [i for i in sorted(range(training_set.n_items), key=lambda i: (-score(each, i), i)) if i not in seen]
        )
    return lists


def naive_ndcg(run, lists):
    user, item, _ = run.prepared.holdout()
    values = []
    for each in np.unique(user):
        wanted = set(item[user == each].tolist())
        gain = sum(1 / np.log2(rank + 1) for rank, i in enumerate(lists[each][:K], 1) if i in wanted)
        values.append(gain / sum(1 / np.log2(rank + 1) for rank in range(1, min(len(wanted), K) + 1)))
    return float(np.mean(values))


def test_the_table_gives_the_naive_figures(evaluated):
    run, _, record = evaluated
    training_set = run.prepared.training_set("split")
    counts = training_set.item_counts
    model = load_ranker(fitted_on_split(run, "ranker"), run)
    rated = (training_set.ratings.toarray() > 0).astype(float)
    scores = rated @ model.weights.astype(float)

    def by_model(user, item):
        column = training_set.column_of[item]
        return scores[user, column] if column >= 0 and rated[user].any() else -1e9 + counts[item]

    assert record["metrics"]["ndcg@10"]["value"] == pytest.approx(naive_ndcg(run, naive_lists(run, by_model)))
    by_count = naive_lists(run, lambda user, item: counts[item])
    assert record["baselines"]["popular"]["ndcg@10"]["value"] == pytest.approx(naive_ndcg(run, by_count))


def test_rmse_of_the_means_is_the_naive_figure(evaluated):
    run, _, record = evaluated
    means = run.prepared.training_set("split").means
    columns = run.prepared.training_set("split").column_of
    off = []
    for user, item, rating in zip(*run.prepared.holdout(), strict=True):
        item_mean = means.item[columns[item]] if columns[item] >= 0 else 0.0
        off.append(np.clip(means.overall + item_mean + means.user[user], 1, 5) - rating)
    assert record["metrics"]["rmse"]["value"] == pytest.approx(np.sqrt(np.mean(np.square(off))), rel=1e-6)
    assert record["metrics"]["mae"]["value"] == pytest.approx(np.mean(np.abs(off)), rel=1e-6)


def test_the_record_says_what_was_measured_and_how(evaluated):
    run, outcome, record = evaluated
    user, *_ = run.prepared.holdout()
    assert record["protocol"]["held_out_ratings"] == len(user)
    assert record["protocol"]["users"] == len(np.unique(user))
    assert {name.partition("@")[0] for name in record["metrics"]} == set(FORMULAS) == set(record["formulas"])
    assert record["baselines"]["means"]["rmse"] == record["metrics"]["rmse"]  # the rater is the baseline itself
    for name, value in record["metrics"].items():
        if "low" in value:
            assert value["low"] <= value["value"] <= value["high"], name
    difference = record["differences"]["ndcg@10"]
    own, other = (r["ndcg@10"]["value"] for r in (record["metrics"], record["baselines"]["popular"]))
    assert difference["value"] == pytest.approx(own - other)
    assert difference["low"] <= difference["value"] <= difference["high"]
    assert record["differences"]["rmse"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert outcome.metrics["ndcg@10"] == own
    assert record["champion"] == {"run_id": None, "why_not": "no published run was looked for"}
    assert own > other


def test_it_is_measured_once(evaluated, monkeypatch):
    run, outcome, _ = evaluated
    monkeypatch.setattr(stage, "_measure", lambda _: pytest.fail("measured again"))
    assert stage.evaluate(run) == outcome


def test_the_baselines_may_be_the_models(tmp_path):
    run = make_run(tmp_path, config=config_of(train={"ranker": "popular", "rater": "means"}))
    fit(run, "ranker")
    fit(run, "rater")
    outcome = evaluate_run(run)
    record = json.loads(outcome.file.read_text())
    assert record["metrics"]["ndcg@10"] == record["baselines"]["popular"]["ndcg@10"]
    assert record["metrics"]["rmse"] == record["baselines"]["means"]["rmse"]


def test_without_a_hold_out_only_the_lists_are_measured(tmp_path):
    dense = np.full((4, 3), np.nan)
    dense[np.arange(4), [0, 1, 2, 0]] = 4.0  # a user's only rating is never held out
    run = make_run(tmp_path, dense=dense, refused=())
    fit(run, "ranker")
    fit(run, "rater")
    outcome = evaluate_run(run)
    assert not any(name.startswith(("ndcg", "rmse", "mrr")) for name in outcome.metrics)
    assert "coverage@10" in outcome.metrics


class TestReadLists:
    def test_short_and_missing_lists_are_filled(self, evaluated, tmp_path):
        ids = evaluated[0].prepared.ids
        rows = [(101, 1, 12), (101, 2, 10), (103, 1, 11)]
        blank = {"score": None, "predicted_rating": None, "source": "popular", "because_item_id": None}
        records = [{"user_id": user, "rank": rank, "item_id": item, **blank} for user, rank, item in rows]
        table = pa.Table.from_pylist(records, schema=tables.recommendations(pa.int64(), pa.int64()))
        pq.write_table(table.take([2, 0, 1]), tmp_path / "part-0.parquet")
        lists = read_lists(tmp_path, ids, Shard(0, ids.n_users), 2)
        assert lists.shape == (ids.n_users, 2)
        assert_array_equal(lists[[0, 1, 2, 3]], [[-1, -1], [2, 0], [-1, -1], [1, -1]])

    def test_an_empty_table(self, evaluated, tmp_path):
        pq.write_table(tables.recommendations(pa.int64(), pa.int64()).empty_table(), tmp_path / "part-0.parquet")
        assert (read_lists(tmp_path, evaluated[0].prepared.ids, Shard(3, 9), 4) == np.full((6, 4), -1)).all()

    def test_rows_count_from_the_first_user_of_a_shard(self, evaluated, tmp_path):
        row = {
            "rank": 1,
            "item_id": 12,
            "score": None,
            "predicted_rating": None,
            "source": "popular",
            "because_item_id": None,
        }
        table = pa.Table.from_pylist([{"user_id": 104, **row}], schema=tables.recommendations(pa.int64(), pa.int64()))
        pq.write_table(table, tmp_path / "part-0.parquet")
        assert read_lists(tmp_path, evaluated[0].prepared.ids, Shard(3, 5), 1).tolist() == [[-1], [2]]
