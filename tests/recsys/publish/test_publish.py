"""Publishing: the manifest names everything, the pointer goes forward in time only, a second time changes nothing."""

import hashlib
import json
from dataclasses import replace
from datetime import date

import pyarrow.parquet as pq
import pytest
from nights import NIGHT, config_of, make_run, publish_night, score_run

from recsys.errors import UsageError
from recsys.publish import stage as publish_stage
from recsys.publish.stage import publish
from recsys.store import Store, layout
from recsys.store.manifest import read_manifest


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    return publish_night(tmp_path_factory.mktemp("store"))


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


class TestManifest:
    def test_it_names_every_file_with_bytes_rows_and_hash(self, night):
        run, _ = night
        entries = {entry["path"]: entry for entry in read_manifest(run.folder)["files"]}
        files = files_of(run.folder)
        assert set(entries) == set(files) - {"manifest.json"}
        for name, path in files.items():
            if name != "manifest.json":
                assert entries[name]["bytes"] == path.stat().st_size
                assert entries[name]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
                parquet = name.endswith(".parquet")
                assert entries[name].get("rows") == (
                    pq.read_table(path, partitioning=None).num_rows if parquet else None
                )

    def test_it_says_what_the_contract_asks_for(self, night):
        run, published = night
        manifest = read_manifest(run.folder)
        assert manifest["schema_version"]
        assert (manifest["run_id"], manifest["run_date"]) == (run.run_id, NIGHT.isoformat())
        assert manifest["input"]["fingerprint"] == "f" * 64
        assert (manifest["input"]["origin"], manifest["input"]["trust"]) == ("memory", "generated")
        assert manifest["config"]["score"]["top_n"] == 5
        assert manifest["config"]["models"]["weighted_edlae"]["reg"] == 800.0
        assert {"python", "numpy", "pyarrow", "keras"} <= set(manifest["versions"])
        assert manifest["seed"] == 42
        assert {"ndcg@10", "rmse"} <= set(manifest["metrics"])
        assert manifest["gate"]["verdict"] == "UNGATED"
        assert manifest["gate"]["reasons"][0] == "not compared with a published run: nothing was published before"
        assert len(manifest["gate"]["reasons"]) == 4
        assert sum(manifest["sources"].values()) == published.rows
        stages = {"prepare", "train_ranker", "train_rater", "evaluate", "refit_ranker", "refit_rater", "score"}
        assert stages <= set(manifest["timings"])
        assert all(took["seconds"] >= 0 for took in manifest["timings"].values())

    def test_only_what_readers_need_stays(self, night):
        run, _ = night
        assert not run.work.exists()
        assert not list(run.folder.rglob("*.partial"))
        assert {path.name for path in run.folder.iterdir()} == {
            "manifest.json", "evaluation.json", "breakdown.json", "drift.json", "gate.json", "prepared", "model",
            "recommendations", "similar_items", "popular_items", "quarantine",
        }  # fmt: skip

    def test_what_a_killed_writer_left_is_not_published(self, tmp_path):
        run = score_run(make_run(tmp_path))
        (run.folder / "similar_items.partial").mkdir()
        (run.folder / ".evaluation.json.1234.new").write_text("{")
        (run.folder / ".manifest.json.1234.new").write_text("{")
        publish(run)
        names = {entry["path"] for entry in read_manifest(run.folder)["files"]}
        assert not {name for name in names if "partial" in name or name.endswith(".new")}


class TestPointer:
    def test_it_leads_to_the_run(self, night):
        run, published = night
        assert published.outcome == "published"
        pointer = Store(run.store).current()
        assert (pointer.run_date, pointer.run_id) == (NIGHT, run.run_id)
        assert run.store / pointer.path == run.folder == published.folder
        assert (run.store / "published" / "current").resolve() == run.folder.resolve()

    def test_a_complete_run_is_found_again_and_nothing_changes(self, tmp_path, monkeypatch):
        _, first = publish_night(tmp_path)
        before = {name: path.read_bytes() for name, path in files_of(tmp_path).items()}
        monkeypatch.setattr(publish_stage, "check_recommendations", lambda *_, **__: pytest.fail("checked again"))
        again = publish(make_run(tmp_path))
        assert again == replace(first, outcome="unchanged")
        assert {name: path.read_bytes() for name, path in files_of(tmp_path).items()} == before

    def test_it_does_not_go_back_in_time(self, tmp_path):
        newer, _ = publish_night(tmp_path, night=date(2026, 2, 1))
        older, published = publish_night(tmp_path, night=date(2026, 1, 31))
        assert published.outcome == "kept"
        assert older.complete
        assert Store(tmp_path).current().run_id == newer.run_id

    def test_a_newer_night_and_another_run_of_the_same_night_take_it_over(self, tmp_path):
        publish_night(tmp_path, night=date(2026, 1, 30))
        second, published = publish_night(tmp_path, night=date(2026, 1, 31))
        assert published.outcome == "published"
        third, published = publish_night(tmp_path, night=date(2026, 1, 31), config=config_of(seed=7))
        assert published.outcome == "published"
        assert third.run_id != second.run_id
        assert Store(tmp_path).current().run_id == third.run_id
        assert publish(second).outcome == "pointed"
        assert Store(tmp_path).current().run_id == second.run_id

    def test_a_crash_between_manifest_and_pointer_is_mended_by_the_next_try(self, tmp_path, monkeypatch):
        run = score_run(make_run(tmp_path))
        with monkeypatch.context() as patch:
            patch.setattr(Store, "point_to", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                publish(run)
        assert run.complete
        assert Store(tmp_path).current() is None
        assert publish(run).outcome == "published"
        assert Store(tmp_path).current().run_id == run.run_id

    def test_a_crash_before_the_manifest_publishes_nothing(self, tmp_path, monkeypatch):
        run = score_run(make_run(tmp_path))
        with monkeypatch.context() as patch:
            patch.setattr(layout, "write_whole", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
            with pytest.raises(KeyboardInterrupt):
                publish(run)
        assert not run.complete
        assert Store(tmp_path).current() is None


class TestTheSameNight:
    def test_gives_the_same_bytes_in_every_table_with_any_threads(self, tmp_path):
        one, _ = publish_night(tmp_path / "one")
        two, _ = publish_night(tmp_path / "two", config=config_of(compute={"threads": 3, "memory_mib": 2_048}))
        assert one.run_id == two.run_id
        tables = [name for name in files_of(one.folder) if name.endswith((".parquet", ".npy"))]
        assert len(tables) > 10
        for name in tables:
            assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes(), name
        records = [json.loads((run.folder / "evaluation.json").read_text()) for run in (one, two)]
        assert records[0] == records[1]

    @pytest.mark.parametrize(
        "change", [{"seed": 1}, {"score": {"top_n": 4}}, {"models": {"weighted_edlae": {"reg": 3.0}}}]
    )
    def test_another_configuration_is_another_run(self, tmp_path, change):
        assert make_run(tmp_path, config=config_of(**change)).run_id != make_run(tmp_path).run_id


class TestReadManifest:
    @pytest.mark.parametrize("text", [None, "{", "not json"])
    def test_a_manifest_that_cannot_be_read_is_refused(self, tmp_path, text):
        if text is not None:
            (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(UsageError, match="no readable manifest"):
            read_manifest(tmp_path)


class TestRefit:
    def test_switched_off_the_judged_model_is_published(self, tmp_path):
        run, _ = publish_night(tmp_path, config=config_of(train={"refit": False}))
        with_refit = score_run(make_run(tmp_path / "other"))
        judged = (with_refit.folder / "model" / "judged" / "ranker" / "arrays.npz").read_bytes()
        assert (run.folder / "model" / "ranker" / "arrays.npz").read_bytes() == judged
        assert (with_refit.folder / "model" / "ranker" / "arrays.npz").read_bytes() != judged
