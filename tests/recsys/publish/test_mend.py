"""What was damaged is rebuilt, and the pointer leads to a whole run or to none at every step of it."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import date

import pytest
from nights import NIGHT, config_of, make_run, publish_night, score_run

from recsys.publish import mend as mend_module
from recsys.publish.damage import find_damage, find_damage_by_size
from recsys.publish.mend import mend, mend_pointer
from recsys.publish.stage import publish
from recsys.store import MANIFEST, BrokenPointer, Store
from recsys.store.manifest import is_sealed, read_manifest, seal

BEFORE = date(2026, 1, 30)


def bytes_of(run):
    return {
        path.relative_to(run.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in run.folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }


def flip(path):
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2] + bytes([raw[len(raw) // 2] ^ 1]) + raw[len(raw) // 2 + 1 :])


DAMAGE = {
    "a file removed": lambda folder: (folder / "evaluation.json").unlink(),
    "a byte flipped": lambda folder: flip(folder / "recommendations" / "part-00000.parquet"),
    "a file cut": lambda folder: (folder / "prepared" / "rating.npy").write_bytes(b"x"),
    "a table removed": lambda folder: shutil.rmtree(folder / "similar_items"),
    "a byte of the manifest flipped": lambda folder: flip(folder / MANIFEST),
    "the manifest cut": lambda folder: (folder / MANIFEST).write_text("{"),
    "the manifest removed": lambda folder: (folder / MANIFEST).unlink(),
}


@pytest.fixture(scope="module")
def two_nights(tmp_path_factory):
    """A store with two complete nights, the second one published."""
    root = tmp_path_factory.mktemp("two")
    publish_night(root, night=BEFORE)
    publish_night(root, night=NIGHT)
    return root


@pytest.fixture
def store(two_nights, tmp_path):
    """A copy of it that a test may damage."""
    shutil.copytree(two_nights, tmp_path / "store", symlinks=True)
    return tmp_path / "store"


def handle(store, night=NIGHT):
    """The handle of a run that stands."""
    return make_run(store, night=night)


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_run_is_rebuilt_with_the_same_bytes(store, kind, caplog):
    run, before = handle(store), handle(store, BEFORE)
    wanted = bytes_of(run)
    DAMAGE[kind](run.folder)
    caplog.set_level("INFO", "recsys")
    mend(run)
    assert Store(store).current().run_id == before.run_id, "while it is rebuilt the night before is shown"
    assert (store / "published" / "current").resolve() == before.folder.resolve()
    assert not run.folder.exists()
    assert f"run {run.run_id} is damaged" in caplog.text
    published = publish(score_run(handle(store)))
    assert published.outcome == "published"
    assert bytes_of(run) == wanted
    assert not find_damage(run.folder)
    assert Store(store).current().run_id == run.run_id
    assert f"run {run.run_id} was damaged and is rebuilt" in caplog.text
    assert not run.work.exists()


def test_a_whole_run_is_left_alone(store, caplog):
    run = handle(store)
    stamps = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    mend(run)
    assert publish(run).outcome == "unchanged"
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()} == stamps
    assert caplog.text == ""


def test_with_no_run_before_nothing_is_published_until_it_is_rebuilt(tmp_path):
    run, _ = publish_night(tmp_path)
    (run.folder / "evaluation.json").unlink()
    mend(run)
    assert Store(tmp_path).current() is None
    assert not (tmp_path / "published" / "current").is_symlink()
    assert publish(score_run(make_run(tmp_path))).outcome == "published"


def test_the_run_before_is_shown_only_where_it_is_whole_itself(store):
    first = publish_night(store, night=date(2026, 1, 29))[0]
    (handle(store, BEFORE).folder / "evaluation.json").unlink()
    run = handle(store)
    (run.folder / "evaluation.json").unlink()
    mend(run)
    assert Store(store).current().run_id == first.run_id


def test_an_older_night_is_rebuilt_beside_the_published_one(store):
    older, run = handle(store, BEFORE), handle(store)
    (older.folder / "evaluation.json").unlink()
    mend(older)
    assert Store(store).current().run_id == run.run_id
    assert publish(score_run(handle(store, BEFORE))).outcome == "kept"
    assert Store(store).current().run_id == run.run_id


@pytest.mark.parametrize("step", ["mend_pointer", "_set_aside", "_clear_work"])
def test_killed_at_any_step_readers_see_whole_runs_and_the_next_try_ends_well(store, step, monkeypatch):
    run = handle(store)
    wanted = bytes_of(run)
    (run.folder / "evaluation.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(mend_module, step, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            mend(run)
    if step != "mend_pointer":  # until the pointer is moved it is as it was found
        assert Store(store).current().run_id == handle_id(store, BEFORE)
    mend(run)
    score_run(make_run(store))
    publish(run)
    assert bytes_of(run) == wanted
    assert Store(store).current().run_id == run.run_id


def handle_id(store, night):
    return next((store / "runs" / f"run_date={night}").iterdir()).name.removeprefix("run_id=")


def test_what_a_half_cleared_work_folder_holds_is_not_used(store):
    run = handle(store)
    (run.work / "model" / "ranker").mkdir(parents=True)
    (run.folder / "evaluation.json").unlink()
    mend(run)
    assert {path.name for path in run.work.iterdir()} == {"damaged", "champion.json"}


class TestThePointer:
    @pytest.mark.parametrize("text", ["", "{", "[]", '{"run_date": "2026-09-01", "run_id": "x", "path": "runs/x"}'])
    def test_a_broken_one_leads_to_the_latest_whole_run(self, store, text):
        run = handle(store)
        (store / "published" / "CURRENT.json").write_text(text)
        (store / "published" / "current").unlink()
        assert mend_pointer(Store(store)).run_id == run.run_id
        assert Store(store).current().run_id == run.run_id
        assert (store / "published" / "current").resolve() == run.folder.resolve()

    def test_a_run_that_is_gone_is_followed_by_the_one_before(self, store):
        shutil.rmtree(handle(store).folder)
        assert mend_pointer(Store(store)).run_id == handle_id(store, BEFORE)

    def test_a_run_with_a_damaged_manifest_is_not_shown(self, store):
        flip(handle(store).folder / MANIFEST)
        assert mend_pointer(Store(store)).run_id == handle_id(store, BEFORE)

    def test_without_a_whole_run_it_is_taken_away(self, tmp_path):
        (tmp_path / "published").mkdir()
        (tmp_path / "published" / "CURRENT.json").write_text("{")
        assert mend_pointer(Store(tmp_path)) is None
        assert list((tmp_path / "published").iterdir()) == []

    def test_publishing_mends_it(self, store):
        (store / "published" / "CURRENT.json").write_text("{")
        assert publish(handle(store, BEFORE)).outcome == "kept"
        assert Store(store).current().run_id == handle_id(store, NIGHT)

    def test_the_link_is_mended(self, store):
        link = store / "published" / "current"
        link.unlink()
        link.symlink_to("../nowhere")
        mend(handle(store))
        assert link.resolve() == handle(store).folder.resolve()

    def test_a_folder_in_its_place_is_for_the_operator(self, tmp_path):
        (tmp_path / "published" / "CURRENT.json").mkdir(parents=True)
        with pytest.raises(BrokenPointer):
            mend_pointer(Store(tmp_path))


def test_work_of_ended_runs_is_cleared_and_of_unfinished_ones_kept(store):
    unfinished = make_run(store, night=date(2026, 2, 1))
    for work in (Store(store).work_folder(handle_id(store, BEFORE)), unfinished.work):
        (work / "model").mkdir(parents=True, exist_ok=True)
    mend(handle(store))
    assert [work.name for work in (store / "work").iterdir()] == [f"run_id={unfinished.run_id}"]


class TestSeal:
    def test_any_flipped_byte_of_a_manifest_is_found(self, two_nights):
        run = handle(two_nights)
        raw = (run.folder / MANIFEST).read_bytes()
        assert is_sealed(json.loads(raw))
        for place in range(0, len(raw), 37):
            try:
                record = json.loads(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
            except ValueError:
                continue
            assert not is_sealed(record) or record == json.loads(raw)

    def test_what_is_no_manifest_is_not_sealed(self):
        assert is_sealed(seal({"a": 1.5, "b": [None, "é"]}))
        for record in (None, [], "x", {}, {"a": 1}):
            assert not is_sealed(record)


def test_sizes_alone_tell_a_cut_and_a_missing_file(store):
    run = handle(store)
    entries = [entry for entry in read_manifest(run.folder)["files"] if entry["path"].startswith("prepared/")]
    assert not find_damage_by_size(run.folder, entries)
    (run.folder / "prepared" / "rating.npy").write_bytes(b"x")
    (run.folder / "prepared" / "items.parquet").unlink()
    damage = find_damage_by_size(run.folder, entries)
    assert str(damage) == "changed: 'prepared/rating.npy'; missing: 'prepared/items.parquet'"


def test_another_configuration_is_no_damage(store):
    mend(make_run(store, config=config_of(seed=7)))
    assert Store(store).current().run_id == handle(store).run_id
