"""Reading what was published: which run, whose rows, which predictions, and whether the files are still the same."""

import importlib.util
import json
import shutil
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys import published as published_module
from recsys.errors import UsageError
from recsys.published import DamagedRun, PublishedRun, complete_runs, find_run
from recsys.store import MANIFEST, BrokenPointer

_spec = importlib.util.spec_from_file_location("nights", Path(__file__).parent / "publish" / "nights.py")
nights = sys.modules.setdefault("nights", importlib.util.module_from_spec(_spec))
if not hasattr(nights, "NIGHT"):
    _spec.loader.exec_module(nights)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two nights, the second one twice under other seeds: three complete runs, the last one published."""
    root = tmp_path_factory.mktemp("store")
    nights.publish_night(root, night=date(2026, 1, 30))
    nights.publish_night(root, night=nights.NIGHT)
    nights.publish_night(root, night=nights.NIGHT, config=nights.config_of(seed=7))
    return root


@pytest.fixture(scope="module")
def run(store):
    return PublishedRun.open(store)


def several(root):
    """A store with two runs whose ids begin alike; what a manifest says does not count for finding them."""
    for name in ("a1", "a2"):
        folder = root / "runs" / "run_date=2026-01-31" / f"run_id={name}"
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_text("{")
    return root


@pytest.fixture
def own(store, tmp_path):
    """A copy that a test may damage."""
    shutil.copytree(PublishedRun.open(store).folder, tmp_path / "run")
    return PublishedRun(tmp_path / "run")


class TestWhichRun:
    def test_the_pointer_leads(self, store, run):
        assert run.manifest["seed"] == 7
        assert run.folder.parent.parent == store / "runs"

    def test_a_date_leads_to_its_run_and_the_published_one_is_preferred(self, store, run):
        assert PublishedRun.open(store, date(2026, 1, 30)).manifest["run_date"] == "2026-01-30"
        assert PublishedRun.open(store, nights.NIGHT).run_id == run.run_id

    def test_an_older_run_of_a_date_is_preferred_when_it_is_the_published_one(self, store, run, tmp_path):
        copy = tmp_path / "store"
        shutil.copytree(store, copy, symlinks=True)
        other = next(
            r for r in complete_runs(copy) if r.manifest["run_date"] == "2026-01-31" and r.run_id != run.run_id
        )
        pointer = {"run_date": "2026-01-31", "run_id": other.run_id, "path": str(other.folder.relative_to(copy))}
        (copy / "published" / "CURRENT.json").write_text(json.dumps(pointer))
        assert PublishedRun.open(copy, nights.NIGHT).run_id == other.run_id

    @pytest.mark.parametrize("made", [True, False])
    def test_nothing_published_is_refused(self, tmp_path, made):
        root = tmp_path if made else tmp_path / "nowhere"
        with pytest.raises(UsageError, match="Nothing is published") as refusal:
            PublishedRun.open(root)
        assert refusal.value.found == ("no pointer" if made else "no such folder")

    def test_a_date_without_a_run_is_refused_with_those_there_are(self, store, tmp_path):
        with pytest.raises(UsageError, match="No run of 2026-03-01") as refusal:
            PublishedRun.open(store, date(2026, 3, 1))
        assert "2026-01-30" in refusal.value.found
        with pytest.raises(UsageError) as refusal:
            PublishedRun.open(tmp_path, date(2026, 3, 1))
        assert refusal.value.found == "no complete run"

    def test_a_broken_pointer_does_not_hide_a_night_that_is_named(self, store, tmp_path):
        copy = tmp_path / "store"
        shutil.copytree(store, copy, symlinks=True)
        (copy / "published" / "CURRENT.json").write_text("{")
        with pytest.raises(BrokenPointer, match="cannot be read"):
            PublishedRun.open(copy)
        assert PublishedRun.open(copy, date(2026, 1, 30)).manifest["run_date"] == "2026-01-30"

    def test_complete_runs_by_date_without_the_unfinished(self, store, tmp_path):
        copy = tmp_path / "store"
        shutil.copytree(store, copy, symlinks=True)
        (copy / "runs" / "run_date=2026-02-01" / "run_id=unfinished").mkdir(parents=True)
        runs = complete_runs(copy)
        assert [r.manifest["run_date"] for r in runs] == ["2026-01-30", "2026-01-31", "2026-01-31"]

    def test_one_unreadable_manifest_does_not_hide_the_other_runs(self, store, tmp_path):
        copy = tmp_path / "store"
        shutil.copytree(store, copy, symlinks=True)
        broken = complete_runs(copy)[0]
        (broken.folder / MANIFEST).write_text("{")
        assert PublishedRun.open(copy, nights.NIGHT).manifest["run_date"] == "2026-01-31"

    def test_a_run_by_the_beginning_of_its_id(self, store, run, tmp_path):
        assert find_run(store, run.run_id[:10]).run_id == run.run_id
        with pytest.raises(UsageError, match="id is empty"):
            find_run(store, "")
        with pytest.raises(UsageError, match="More than one complete run"):
            find_run(several(tmp_path), "a")
        with pytest.raises(UsageError, match="No complete run") as refusal:
            find_run(store, "zz")
        assert run.run_id in refusal.value.found


class TestTables:
    def test_a_table_is_its_folder(self, run):
        assert run.table("recommendations") == run.folder / "recommendations"

    @pytest.mark.parametrize("name", ["user_embeddings", "prepared", "../x", ""])
    def test_another_name_is_refused_with_those_there_are(self, run, name):
        with pytest.raises(UsageError, match="has no table") as refusal:
            run.table(name)
        assert refusal.value.expected == "one of recommendations, similar_items, popular_items, quarantine"

    @pytest.mark.parametrize("damage", [b"", None])
    def test_a_table_with_a_file_cut_or_gone_is_refused(self, own, damage):
        part = own.folder / "recommendations" / "part-00000.parquet"
        part.unlink() if damage is None else part.write_bytes(damage)
        for read in (own.table, lambda _: own.recommendations_of(101)):
            with pytest.raises(DamagedRun, match="recommendations/part-00000"):
                read("recommendations")

    def test_a_persons_rows_with_titles(self, run):
        rows = run.recommendations_of(101)
        assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
        assert all(row["user_id"] == 101 for row in rows)
        assert all(row["title"] == f"Title {row['item_id'] - 10}" for row in rows)
        whole = pq.read_table(run.folder / "recommendations", partitioning=None).to_pylist()
        assert [r["item_id"] for r in rows] == [r["item_id"] for r in whole if r["user_id"] == 101]

    def test_a_persons_ratings_best_first(self, run):
        dense = nights.example_ratings()[5]
        expected = sorted((-dense[i], 10 + i) for i in np.flatnonzero(~np.isnan(dense)))
        found = run.ratings_of(105)
        assert [(-row["rating"], row["item_id"]) for row in found] == expected
        assert found[0]["title"] == f"Title {found[0]['item_id'] - 10}"
        assert run.ratings_of(999) == []

    def test_a_user_as_typed(self, run, tmp_path):
        assert run.user_id("103") == 103
        for text in ("999", "abc", "", "9" * 30, "1.5"):
            with pytest.raises(UsageError, match="There is no user") as refusal:
                run.user_id(text)
            assert "100, 101, 102" in refusal.value.todo
        nights.publish_night(tmp_path, id_type="string")
        assert PublishedRun.open(tmp_path).user_id("u103") == "u103"


def pairs(*rows, kind=None):
    return pa.table({"user_id": pa.array([r[0] for r in rows], kind), "item_id": pa.array([r[1] for r in rows], kind)})


class TestPredict:
    def test_in_the_order_given_clipped_and_null_where_unknown(self, run):
        asked = pairs((101, 12), (999, 12), (101, 999), (100, 10), (101, 12))
        found = run.predict(asked)
        assert found.select(["user_id", "item_id"]).to_pylist() == asked.to_pylist()
        said = found["predicted_rating"].to_pylist()
        assert [value is None for value in said] == [False, True, True, False, False]
        assert found["predicted_rating"].null_count == 2
        assert said[0] == said[4]
        means = run.prepared.training_set("all").means
        plain = means.overall + means.item[run.prepared.training_set("all").column_of[2]] + means.user[1]
        assert said[0] == pytest.approx(min(max(plain, 1.0), 5.0), rel=1e-6)

    def test_predictions_are_clipped_to_the_scale(self, run, monkeypatch):
        class Loud:
            name = "loud"

            def predict(self, user_index, item_index):
                return np.where(item_index == 0, np.float32(9), np.float32(-9))

        monkeypatch.setattr(PublishedRun, "rater", lambda _: Loud())
        assert run.predict(pairs((101, 10), (101, 11)))["predicted_rating"].to_pylist() == [5.0, 1.0]

    def test_the_published_table_says_the_same(self, run):
        rows = pq.read_table(run.folder / "recommendations", partitioning=None)
        found = run.predict(rows.select(["user_id", "item_id"]))
        assert found["predicted_rating"].to_pylist() == rows["predicted_rating"].to_pylist()

    def test_blocks_do_not_matter(self, run, monkeypatch):
        asked = pairs(*((user, item) for user in range(99, 120) for item in range(9, 20)))
        whole = run.predict(asked)
        monkeypatch.setattr(published_module, "BLOCK", 7)
        assert run.predict(asked).equals(whole)
        assert run.predict(asked.slice(0, 0)).num_rows == 0

    def test_ids_are_read_in_the_type_of_the_run(self, run):
        assert run.predict(pairs(("101", "12"), kind=pa.string())).equals(run.predict(pairs((101, 12))))

    def test_what_is_no_id_is_null_in_its_place(self, run):
        given = [
            ("101", "12"),
            ("abc", "12"),
            ("101", None),
            ("", "12"),
            ("1.5", "x"),
            ("9" * 30, "12"),
            ("101.0", "12"),
        ]
        found = run.predict(pairs(*given, kind=pa.string()))
        assert found["user_id"].to_pylist() == [101, None, 101, None, None, None, 101]
        assert found["item_id"].to_pylist() == [12, 12, None, 12, None, 12, 12]
        said = found["predicted_rating"].to_pylist()
        assert [value is None for value in said] == [False, True, True, True, True, True, False]
        assert said[0] == said[6]

    def test_string_ids_of_a_run_stay_as_they_are_written(self, tmp_path):
        nights.publish_night(tmp_path, id_type="string")
        found = PublishedRun.open(tmp_path).predict(
            pairs(("u101", "i12"), ("007", "1.0"), ("", "i12"), kind=pa.string())
        )
        assert found["user_id"].to_pylist() == ["u101", "007", None]
        assert found["item_id"].to_pylist()[1] == "1.0"
        assert found["predicted_rating"].null_count >= 2

    def test_pairs_that_are_no_ids_are_counted_in_a_warning(self, run, tmp_path, caplog):
        (tmp_path / "pairs.csv").write_text("movieId;user\n12;101\n;101\n12;abc\n12;xyz\n")
        found = run.predict_file(tmp_path / "pairs.csv", tmp_path / "out.parquet")
        assert pq.read_table(tmp_path / "out.parquet").equals(found)
        assert found["predicted_rating"].null_count == 3
        assert [record.getMessage().split(";")[0] for record in caplog.records] == [
            "2 of 4 pairs have no user_id of the published type, int64",
            "1 of 4 pairs have no item_id of the published type, int64",
        ]

    def test_a_file_into_a_file(self, run, tmp_path):
        (tmp_path / "pairs.csv").write_text("user_id,item_id\n101,12\n999,12\n")
        found = run.predict_file(tmp_path / "pairs.csv", tmp_path / "out.parquet")
        assert pq.read_table(tmp_path / "out.parquet").equals(found)
        assert found["predicted_rating"].null_count == 1
        assert {path.name for path in tmp_path.iterdir()} == {"pairs.csv", "out.parquet"}

    def test_a_file_that_cannot_be_written_is_refused_and_leaves_nothing(self, run, tmp_path):
        (tmp_path / "pairs.csv").write_text("user_id,item_id\n101,12\n")
        (tmp_path / "taken" / "inside").mkdir(parents=True)
        for out in (tmp_path / "nowhere" / "out.parquet", tmp_path / "taken", tmp_path / "pairs.csv" / "x", Path("/")):
            with pytest.raises(UsageError, match="cannot be written"):
                run.predict_file(tmp_path / "pairs.csv", out)
        assert {path.name for path in tmp_path.iterdir()} == {"pairs.csv", "taken"}

    @pytest.mark.parametrize("failing", ["write", "clean-up too"])
    def test_a_file_that_stood_there_stays_whole(self, run, tmp_path, monkeypatch, failing):
        def full(table, path, **_):
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")

        def read_only(*_, **__):
            raise PermissionError(13, "Permission denied")

        (tmp_path / "pairs.csv").write_text("user_id,item_id\n101,12\n")
        (tmp_path / "out.parquet").write_bytes(b"before")
        monkeypatch.setattr(published_module.pq, "write_table", full)
        if failing == "clean-up too":
            monkeypatch.setattr(Path, "unlink", read_only)
        with pytest.raises(UsageError, match="No space left"):
            run.predict_file(tmp_path / "pairs.csv", tmp_path / "out.parquet")
        assert (tmp_path / "out.parquet").read_bytes() == b"before"
        assert (failing == "write") == (len(list(tmp_path.iterdir())) == 2)


class TestReading:
    def test_what_fails_on_a_damaged_run_is_told_as_that(self, own):
        (own.folder / "prepared" / "user_ids.parquet").write_bytes(b"x")
        with pytest.raises(DamagedRun, match="user_ids"), own.reading():
            own.user_id("101")

    def test_what_fails_on_a_whole_run_is_a_defect(self, own):
        with pytest.raises(ZeroDivisionError), own.reading():
            raise ZeroDivisionError

    def test_a_refusal_passes_as_it_is(self, own):
        (own.folder / "evaluation.json").unlink()
        with pytest.raises(UsageError, match="There is no user"), own.reading():
            own.user_id("nobody")


class TestVerify:
    def test_untouched_files_are_counted(self, run):
        assert run.verify() == len(run.manifest["files"]) > 15

    def test_a_flipped_byte_is_named(self, own):
        for entry in own.manifest["files"]:
            path = own.folder / entry["path"]
            if not entry["bytes"]:
                continue
            raw = path.read_bytes()
            path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
            with pytest.raises(DamagedRun) as found:
                own.verify()
            assert found.value.found.startswith(f"changed: '{entry['path'][:50]}")
            path.write_bytes(raw)
        own.verify()

    def test_any_byte_of_a_parquet_footer_may_be_the_flipped_one(self, own):
        path = own.folder / "popular_items" / "part-00000.parquet"
        raw = path.read_bytes()
        for place in range(len(raw) - 400, len(raw), 3):
            path.write_bytes(raw[:place] + bytes([raw[place] ^ 255]) + raw[place + 1 :])
            with pytest.raises(DamagedRun, match=r"changed: 'popular_items/part-00000\.parquet'"):
                own.verify()

    def test_other_sizes_missing_and_added_files_are_named(self, own):
        (own.folder / "recommendations" / "part-00000.parquet").write_bytes(b"")
        (own.folder / "evaluation.json").unlink()
        (own.folder / "recommendations" / "part-00001.parquet").write_bytes(b"x")
        with pytest.raises(DamagedRun) as found:
            own.verify()
        assert found.value.found == (
            "changed: 'recommendations/part-00000.parquet'; missing: 'evaluation.json'; "
            "not in the manifest: 'recommendations/part-00001.parquet'"
        )
        assert own.run_id in str(found.value)

    def test_a_manifest_that_is_gone_is_refused(self, own):
        (own.folder / MANIFEST).unlink()
        with pytest.raises(DamagedRun) as found:
            own.verify()
        assert found.value.found == "missing: 'manifest.json'"
