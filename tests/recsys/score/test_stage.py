"""The stage as a whole: lists stand in the columns of the models that made them."""

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recsys.identifiers import IdMap
from recsys.prepare import prepared, write
from recsys.prepare.shards import cut
from recsys.published import PublishedRun
from recsys.recommend import recommend
from recsys.score.stage import score_shard

_spec = importlib.util.spec_from_file_location("nights", Path(__file__).parents[1] / "publish" / "nights.py")
nights = sys.modules.setdefault("nights", importlib.util.module_from_spec(_spec))
if not hasattr(nights, "NIGHT"):
    _spec.loader.exec_module(nights)


@pytest.mark.parametrize("refit", [True, False])
def test_lists_are_the_rankers_own_also_where_the_judged_model_is_published(tmp_path, refit):
    """Without a refit the model keeps the items that are most rated beside the hold-out: others than of all ratings."""
    config = nights.config_of(train={"refit": refit}, prepare={"top_items": 6}, gate={"ranker_beats_popular": False})
    nights.publish_night(tmp_path, config=config)
    run = PublishedRun.open(tmp_path)
    ranker = run.ranker()
    judged = run.prepared.training_set("split")
    assert not np.array_equal(judged.items, run.prepared.training_set("all").items)
    assert (ranker.items == judged.items).all() != refit
    ids = run.prepared.ids.item_ids.to_pylist()
    kept = [ids[item] for item in ranker.items]
    history = judged if not refit else run.prepared.training_set("all")
    for user in range(1, 6):
        rows = [row for row in run.recommendations_of(100 + user) if row["source"] != "popular"]
        assert {row["item_id"] for row in rows} <= set(kept)
        rated = history.ratings[user].indices
        scores = ranker.weights[rated].sum(axis=0)
        np.testing.assert_allclose(
            [row["score"] for row in rows], [scores[kept.index(r["item_id"])] for r in rows], rtol=1e-4
        )
    new = recommend(run, pa.table({"item_id": kept[:2], "rating": [5.0, 4.0]})).table.to_pylist()
    assert {row["item_id"] for row in new if row["source"] == "fold_in"} == set(kept[2:])


def test_a_shard_is_scored_from_what_is_its_own(tmp_path, monkeypatch):
    """Nothing as long as all users is read for it: the memory of scoring follows the shard, not their number."""
    monkeypatch.setattr(write, "cut", lambda indptr, *sizes: cut(indptr, *sizes or (10**9, 4)))
    run = nights.score_run(nights.make_run(tmp_path, config=nights.config_of(train={"rater": "biased_mf"})))
    assert [len(shard) for shard in run.prepared.shards] == [4] * 7 + [2]
    shutil.rmtree(run.work / "scored")
    plain, read = prepared.read_array, {}

    def noted(path, *part):
        array = read[path.name] = plain(path, *part)
        return array

    def of_a_model(path, *how, **options):
        assert "prepared" not in path.parts
        return load(path, *how, **options)

    load = np.load
    monkeypatch.setattr(prepared, "read_array", noted)
    monkeypatch.setattr(np, "load", of_a_model)
    monkeypatch.setattr(IdMap, "load", lambda folder: pytest.fail("the ids of all users were read"))
    score_shard(run, 3)
    assert {"indptr.npy", "trained.npy", "columns.npy", "served.npy"} <= set(read)
    by_item = {"items.npy", "item_counts.npy", "item_sums.npy"}
    assert max(len(array) for name, array in read.items() if name not in by_item) <= 4 * nights.N_ITEMS
