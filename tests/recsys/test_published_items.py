"""Items of a published run: found by people, described, and compared."""

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys import tables
from recsys.errors import UsageError
from recsys.published import PublishedRun
from recsys.published_items import PublishedItems

_spec = importlib.util.spec_from_file_location("nights", Path(__file__).parent / "publish" / "nights.py")
nights = sys.modules.setdefault("nights", importlib.util.module_from_spec(_spec))
if not hasattr(nights, "NIGHT"):
    _spec.loader.exec_module(nights)

TITLES = ["Star One (1977)", "Star Two (1980)", "STAR ONE (1977)", "11", "Amélie", None, "Blue", "Blue Moon", "d", "a", "b", "c"]  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A run of items 10 to 21 with the titles above; 10 of the 12 are kept."""
    root = tmp_path_factory.mktemp("store")
    run, _ = nights.publish_night(root)
    items = run.prepared.items().set_column(1, "title", pa.array(TITLES))
    genres = pa.array([["x", "y"], None, *[[]] * 10], pa.list_(pa.string()))
    pq.write_table(items.set_column(2, "genres", genres), run.folder / "prepared" / "items.parquet")
    return root


@pytest.fixture(scope="module")
def items(store):
    return PublishedItems(PublishedRun.open(store))


@pytest.fixture
def own(store, tmp_path):
    """A copy whose files a test may change."""
    shutil.copytree(PublishedRun.open(store).folder, tmp_path / "run")
    return PublishedItems(PublishedRun(tmp_path / "run"))


class TestFind:
    @pytest.mark.parametrize(
        ("text", "item_id"),
        [
            ("10", 10), ("11", 11), ("amélie", 14), ("AMÉ", 14), ("star two", 11), ("blue", 16), ("moon", 17), ("21", 21),
        ],
    )  # fmt: skip
    def test_an_id_then_a_whole_title_then_a_part_of_one(self, items, text, item_id):
        assert items.find(text) == item_id

    @pytest.mark.parametrize(("text", "named"), [("star", [10, 11, 12]), ("Star One (1977)", [10, 12])])
    def test_several_are_listed_the_most_rated_first(self, items, text, named):
        with pytest.raises(UsageError, match=f"{len(named)} items fit") as refusal:
            items.find(text)
        counts = items.run.prepared.training_set("all").item_counts
        expected = sorted(named, key=lambda item_id: (-counts[item_id - 10], item_id))
        assert [int(part.split()[0]) for part in refusal.value.found.split(", ")] == expected

    @pytest.mark.parametrize(("text", "meant"), [("amelie", "14 (Amélie)"), ("sttar two", "11 (Star Two (1980))")])
    def test_none_is_refused_with_near_titles(self, items, text, meant):
        with pytest.raises(UsageError, match="There is no item") as refusal:
            items.find(text)
        assert meant in refusal.value.todo

    @pytest.mark.parametrize("text", ["", "999", "9" * 40, "qqqqqqq"])
    def test_none_without_a_near_title(self, items, text):
        with pytest.raises(UsageError, match="There is no item") as refusal:
            items.find(text)
        assert refusal.value.todo == "give another part of the title"

    def test_string_ids(self, tmp_path):
        nights.publish_night(tmp_path, id_type="string")
        items = PublishedItems(PublishedRun.open(tmp_path))
        assert items.find("i10") == "i10"
        assert items.find("title 11") == "i21"


def test_an_item_is_described_by_its_own_ratings(items):
    dense = nights.example_ratings()
    for index in (0, 1, 2):
        column = dense[:, index][~np.isnan(dense[:, index])]
        described = items.describe(10 + index)
        assert described["ratings"] == len(column)
        assert described["mean_rating"] == pytest.approx(column.mean())
        assert (described["title"], described["genres"]) == (TITLES[index], [["x", "y"], None, []][index])


def weights_row(items, item_id):
    """{item_id: weight} of the other items of a run's edlae."""
    ranker = items.run.ranker()
    column = list(ranker.items).index(item_id - 10)
    return {
        10 + int(item): w
        for item, w in zip(ranker.items, ranker.weights[column].tolist(), strict=True)
        if item != item_id - 10
    }


class TestSimilar:
    @pytest.mark.parametrize("n", [None, 1, 5, 9, 50])
    @pytest.mark.parametrize("least", [False, True])
    def test_nearest_and_farthest_by_the_rankers_row(self, items, n, least):
        kept = items.run.prepared.training_set("all").items
        for item_id in (10 + int(kept[0]), 10 + int(kept[7])):
            row = weights_row(items, item_id)
            expected = sorted(row, key=lambda other: (row[other] if least else -row[other], other))[
                : 5 if n is None else n
            ]
            found = items.similar(item_id, n, least=least)
            assert [each["item_id"] for each in found] == expected
            assert [each["rank"] for each in found] == list(range(1, len(expected) + 1))
            assert [each["similarity"] for each in found] == [row[other] for other in expected]
            assert [each["title"] for each in found] == [TITLES[other - 10] for other in expected]

    def test_an_item_that_is_not_kept_has_no_neighbours(self, items):
        kept = set(items.run.prepared.training_set("all").items.tolist())
        (outside, *_) = set(range(12)) - kept
        assert items.similar(10 + outside) == items.similar(10 + outside, least=True) == []

    def test_without_a_word_from_the_ranker_the_item_space_answers(self, own, monkeypatch):
        vectors = {10: [1, 0], 11: [2, 0], 12: [-1, 0], 13: [0, 3], 14: [0, 0]}
        schema = tables.embeddings("item_id", pa.int64())
        shutil.rmtree(own.run.folder / "similar_items")
        (own.run.folder / "item_embeddings").mkdir()
        table = pa.table({"item_id": list(vectors), "embedding": list(vectors.values())}, schema=schema)
        file = own.run.folder / "item_embeddings" / "part-00000.parquet"
        pq.write_table(table, file)
        left = [entry for entry in own.run.manifest["files"] if not entry["path"].startswith("similar_items/")]
        own.run.manifest["files"][:] = left
        own.run.manifest["files"].append({"path": "item_embeddings/part-00000.parquet", "bytes": file.stat().st_size})

        class Silent:
            name, items = "silent", np.arange(5, dtype=np.int32)

            def similarity(self, column):
                return None

        monkeypatch.setattr(PublishedRun, "ranker", lambda _: Silent())
        assert own.can_compare
        assert [(each["item_id"], each["similarity"]) for each in own.similar(10)] == [
            (11, 1.0),
            (13, 0.0),
            (14, 0.0),
            (12, -1.0),
        ]
        assert [each["item_id"] for each in own.similar(10, 2, least=True)] == [12, 13]
        shutil.rmtree(own.run.folder / "item_embeddings")
        own.run.manifest["files"][:] = left
        del own.run.__dict__["tables"]  # which is read once
        assert not own.can_compare
        with pytest.raises(UsageError, match="cannot say which items are alike"):
            own.similar(10)
