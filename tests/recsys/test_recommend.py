"""Fold-in: lists for people the published models were not fitted on, against a naive maker of the same lists."""

import importlib.util
import logging
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys import tables
from recsys.config import ComputeConfig, InputConfig
from recsys.errors import InputRefused, SourceUnavailable, UsageError
from recsys.published import PublishedRun
from recsys.read import RowsRefused
from recsys.recommend import recommend

_spec = importlib.util.spec_from_file_location("nights", Path(__file__).parent / "publish" / "nights.py")
nights = sys.modules.setdefault("nights", importlib.util.module_from_spec(_spec))
if not hasattr(nights, "NIGHT"):
    _spec.loader.exec_module(nights)

KNOWN = list(range(10, 22))  # item ids of the run; 10 of the 12 are kept
COMPUTE = ComputeConfig(threads=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Users 100 to 129, items 10 to 21, ratings 1 to 5, lists of 5; edlae and means."""
    root = tmp_path_factory.mktemp("store")
    nights.publish_night(root)
    return PublishedRun.open(root)


@pytest.fixture(scope="module")
def string_run(tmp_path_factory):
    root = tmp_path_factory.mktemp("strings")
    nights.publish_night(root, id_type="string")
    return PublishedRun.open(root)


def rated(*rows, **types):
    return pa.table({name: pa.array(column, types.get(name)) for name, column in zip(
        ("user_id", "item_id", "rating"), zip(*rows, strict=True), strict=False)})  # fmt: skip


def lists_of(found):
    lists = {}
    for row in found.table.to_pylist():
        lists.setdefault(row["user_id"], []).append(row)
    return lists


def naive_lists(run, people, n):
    """By loops: {user: {item: rating}} to {user: [(item, source, predicted)]}."""
    training_set, ids = run.prepared.training_set("all"), run.prepared.ids.item_ids.to_pylist()
    ranker, means = run.ranker(), training_set.means
    kept = {ids[item]: column for column, item in enumerate(training_set.items)}
    counts = dict(zip(ids, training_set.item_counts.tolist(), strict=True))
    result = {}
    for user, ratings in people.items():
        known = {kept[item]: value for item, value in ratings.items() if item in kept}
        own = np.mean([v - means.overall - means.item[c] for c, v in known.items()]) if known else 0.0
        scores = ranker.weights[sorted(known)].astype(float).sum(axis=0).astype(np.float32)
        ranked = sorted((item for item in kept if item not in ratings), key=lambda i: (-scores[kept[i]], i))
        listed = [(item, "fold_in") for item in ranked[:n]] if known else []
        popular = sorted((i for i in ids if counts[i] and i not in ratings), key=lambda i: (-counts[i], i))
        listed += [(item, "popular") for item in popular if item not in {i for i, _ in listed}]
        result[user] = [
            (item, source, np.clip(means.overall + own + (means.item[kept[item]] if item in kept else 0), 1, 5))
            for item, source in listed[:n]
        ]
    return result


class TestLists:
    @settings(max_examples=40, deadline=None)
    @given(
        st.dictionaries(
            st.integers(0, 200),
            st.dictionaries(st.integers(8, 24), st.integers(1, 5), min_size=1, max_size=13),
            min_size=1,
            max_size=4,
        ),
        st.integers(1, 13),
    )
    def test_they_are_the_naive_lists(self, run, people, n):
        rows = [(user, item, float(value)) for user, ratings in people.items() for item, value in ratings.items()]
        found = recommend(run, rated(*rows), top_n=n, compute=COMPUTE)
        expected = naive_lists(run, people, n)
        assert found.table.schema == tables.recommendations(pa.int64(), pa.int64())
        assert found.table["user_id"].to_pylist() == sorted(found.table["user_id"].to_pylist())
        lists = lists_of(found)
        for user, listed in expected.items():
            own = lists.get(user, [])
            assert [(row["item_id"], row["source"]) for row in own] == [(item, source) for item, source, _ in listed]
            assert [row["rank"] for row in own] == list(range(1, len(own) + 1))
            np.testing.assert_allclose([r["predicted_rating"] for r in own], [p for *_, p in listed], rtol=1e-6)
            assert all((row["score"] is None) == (row["source"] == "popular") for row in own)
        unknown = {item for ratings in people.values() for item in ratings} - set(KNOWN)
        assert found.unknown_items.to_pylist() == sorted(unknown)
        assert found.unknown_ratings == sum(item in unknown for ratings in people.values() for item in ratings)

    def test_users_of_the_run_are_treated_by_the_given_ratings_only(self, run):
        rows = [(12, 5.0), (13, 1.0)]
        found = lists_of(recommend(run, rated(*((user, *row) for user in (100, 101, 900) for row in rows))))
        plain = [[{**row, "user_id": 0} for row in own] for own in found.values()]
        assert len(plain) == 3
        assert plain[0] == plain[1] == plain[2]
        assert {row["source"] for row in plain[0]} == {"fold_in"}

    def test_ratings_of_a_user_of_the_run_give_the_published_items(self, run):
        own = [(7, row["item_id"], row["rating"]) for row in run.ratings_of(105)]
        found = recommend(run, rated(*own)).table.to_pylist()
        published = run.recommendations_of(105)
        for name in ("item_id", "score", "because_item_id"):
            assert [row[name] for row in found] == [row[name] for row in published]

    def test_nobodys_list_depends_on_who_else_is_in_the_file(self, run):
        rows = [(user, 10 + (3 * user + k) % 12, 1.0 + k) for user in range(7) for k in range(4)]
        together = lists_of(recommend(run, rated(*rows)))
        for user in range(7):
            assert lists_of(recommend(run, rated(*(row for row in rows if row[0] == user))))[user] == together[user]

    def test_values_move_the_predictions_and_items_move_the_list(self, run):
        def one(*rows):
            return recommend(run, rated(*((1, *row) for row in rows))).table

        high, low, other = one((10, 5.0), (13, 5.0)), one((10, 1.0), (13, 1.0)), one((11, 5.0), (14, 5.0))
        assert high["item_id"].equals(low["item_id"])
        assert min(high["predicted_rating"].to_pylist()) > max(low["predicted_rating"].to_pylist())
        assert not high["item_id"].equals(other["item_id"])

    @pytest.mark.parametrize("ranker", ["edlae", "popular"])
    def test_who_has_rated_nothing_that_is_known_gets_popular_rows(self, tmp_path, ranker):
        config = nights.config_of(train={"ranker": ranker}, gate={"ranker_beats_popular": False})
        nights.publish_night(tmp_path, config=config)
        run = PublishedRun.open(tmp_path)
        rows = recommend(run, rated((1, 999, 5.0))).table.to_pylist()
        most = pq.read_table(run.folder / "popular_items", partitioning=None)["item_id"].to_pylist()
        assert [row["item_id"] for row in rows] == most[:5]
        assert {(row["source"], row["score"], row["because_item_id"]) for row in rows} == {("popular", None, None)}

    def test_who_has_rated_everything_gets_nothing(self, run):
        found = recommend(run, rated(*((1, item, 3.0) for item in KNOWN), (2, 10, 3.0)))
        assert set(found.table["user_id"].to_pylist()) == {2}
        assert found.ratings.user_ids.to_pylist() == [1, 2]


class TestInput:
    def write(self, tmp_path, text, name="mine.csv"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    def test_without_a_user_column_all_ratings_are_one_persons(self, run, tmp_path):
        expected = recommend(run, rated((1, 10, 5.0), (1, 12, 2.0))).table
        for name, text in {
            "a.csv": "item,rating\n10,5\n12,2\n",
            "b.csv": "10,5\n12,2\n",
            "c.dat": "12::2\n10::5\n",
            "d.csv": "movieId,title,rating,timestamp\n10,A,5,7\n12,B,2,8\n",
            "e.tsv": "item\trating\n12\t3\n10\t5\n12\t2\n",
        }.items():
            assert recommend(run, self.write(tmp_path, text, name)).table.equals(expected), name
        assert recommend(run, rated((1, 10, 5.0), (1, 12, 2.0)).drop(["user_id"])).table.equals(expected)

    def test_another_column_may_be_the_users_so_it_is_asked_for(self, run, tmp_path):
        path = self.write(tmp_path, "person,item,rating\nann,10,5\nbob,12,2\n")
        with pytest.raises(InputRefused, match="no such column") as refusal:
            recommend(run, path)
        assert "user" in refusal.value.expected
        found = recommend(run, path, input=InputConfig(columns={"user": "person"}))
        assert found.ratings.user_ids.to_pylist() == ["ann", "bob"]

    def test_a_refused_row_of_one_persons_file_counts_as_seen(self, run, tmp_path):
        lax = InputConfig(max_bad_fraction=0.9)
        path = self.write(tmp_path, "item,rating\n10,5\n12,2\n")
        first = recommend(run, path, input=lax).table["item_id"][0].as_py()
        for bad in (f"{first},nine", f"{first},9", f"{first},4,extra"):
            path = self.write(tmp_path, f"item,rating\n10,5\n12,2\n{bad}\n")
            found = recommend(run, path, input=lax, top_n=12)
            assert found.ratings.quarantine["line"].to_pylist() == [4]
            assert first not in found.table["item_id"].to_pylist()
            assert found.table.num_rows == 9

    def test_too_many_bad_rows_are_refused_with_their_places(self, run, tmp_path):
        path = self.write(tmp_path, "user,item,rating\n1,10,5\n1,x,5\n1,12,0\n")
        with pytest.raises(RowsRefused, match=r"2 of 3 rows of mine\.csv") as refusal:
            recommend(run, path)
        assert "mine.csv:3" in refusal.value.found
        assert "mine.csv:4" in refusal.value.found

    def test_what_is_left_out_is_named(self, run, tmp_path, caplog):
        rows = "".join(f"1,{item},5\n" for item in [10, *range(500, 600)])
        path = self.write(tmp_path, f"user,item,rating\n{rows}1,11,\n")
        with caplog.at_level(logging.WARNING, "recsys"):
            recommend(run, path)
        assert "100 ratings of items" in caplog.text
        assert "500, 501, 502, 503, 504, ... (100 in all)" in caplog.text
        assert "1 rows are not valid and left out: mine.csv:103" in caplog.text

    def test_item_ids_are_read_in_the_type_of_the_run_and_user_ids_in_the_files(self, run, string_run, tmp_path):
        path = self.write(tmp_path, "user,item,rating\nu1, 10,5\nu1,12,4\n")
        assert recommend(run, path).table.schema == tables.recommendations(pa.string(), pa.int64())
        path = self.write(tmp_path, "user,item,rating\n1,i10,5\n1,10,4\n2,010,4\n")
        found = recommend(string_run, path)
        assert found.table.schema == tables.recommendations(pa.int64(), pa.string())
        assert found.unknown_items.to_pylist() == ["010", "10"]

    def test_nothing_there(self, run, tmp_path):
        with pytest.raises(SourceUnavailable):
            recommend(run, tmp_path / "nowhere.csv")
        with pytest.raises(InputRefused):
            recommend(run, self.write(tmp_path, ""))
        with pytest.raises(InputRefused):
            recommend(run, self.write(tmp_path, "user,item,rating\n"))

    @pytest.mark.parametrize("top_n", [0, -1, 10**6])
    def test_a_length_out_of_bounds(self, run, top_n):
        with pytest.raises(UsageError, match="top_n"):
            recommend(run, rated((1, 10, 5.0)), top_n=top_n)


class TestSaved:
    def test_a_file_as_the_published_ones(self, run, tmp_path):
        found = recommend(run, rated((1, 10, 5.0), (2, 999, 1.0)))
        found.save(tmp_path / "out.parquet")
        saved = pq.read_table(tmp_path / "out.parquet")
        part = next((run.folder / "recommendations").glob("part-*"))
        assert saved.equals(found.table)
        assert saved.schema.metadata == pq.read_schema(part).metadata
        assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]

    def test_a_file_that_cannot_be_written_leaves_nothing(self, run, tmp_path):
        found = recommend(run, rated((1, 10, 5.0)))
        (tmp_path / "taken" / "inside").mkdir(parents=True)
        for out in (tmp_path / "nowhere" / "out.parquet", tmp_path / "taken"):
            with pytest.raises(UsageError, match="cannot be written"):
                found.save(out)
        assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_published_models(run):
    assert run.ranker().name == "edlae"
    assert run.rater().name == "means"
