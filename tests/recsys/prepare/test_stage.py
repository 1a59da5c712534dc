"""The stage `prepare`, on small files."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import date

import numpy as np
import pyarrow.parquet as pq
import pytest

from recsys.config import DownloadConfig, InputConfig, load
from recsys.download.own import take_own
from recsys.errors import InputRefused
from recsys.prepare import stage
from recsys.prepare.stage import check_volume, prepare
from recsys.ratings import ItemsFormat, RatingsFormat, Scale, Snapshot
from recsys.run import Run
from recsys.states import state_of
from recsys.store import MANIFEST, Pointer, Store
from recsys.store.manifest import seal

HEADER = "userId,movieId,rating,timestamp"
LINES = [f"{user},{item},{1 + (user * item) % 5},{user + item}" for user in range(1, 6) for item in range(1, 5)]


def snapshot_of(path, lines, scale=Scale(1.0, 5.0, 1.0), items=()):  # noqa: B008
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return Snapshot(
        "small", (str(path),), tuple(map(str, items)), RatingsFormat(), ItemsFormat(), scale,
        fingerprint=path.name + "0" * 60, origin=str(path), trust="own file",
    )  # fmt: skip


@pytest.fixture
def run_of(tmp_path):
    """(lines of ratings, lines of a hold-out or None, --set assignments) -> Run."""

    def build(lines=LINES, test=None, *assignments, test_scale=Scale(1.0, 5.0, 1.0)):  # noqa: B008
        snapshot = snapshot_of(tmp_path / "ratings.csv", lines)
        holdout = None if test is None else snapshot_of(tmp_path / "test.csv", test, test_scale)
        return Run(tmp_path / "store", date(2024, 5, 6), load(assignments=assignments), snapshot, holdout)

    return build


def publish(run, counts, dataset=None):
    """A published run of which only the manifest's counts matter."""
    store, day = Store(run.store), date(2024, 5, 5)
    folder = store.run_folder(day, "published")
    folder.mkdir(parents=True, exist_ok=True)
    source = {"dataset": dataset or run.snapshot.dataset} | counts
    manifest = seal({"run_date": str(day), "published_at": str(day), "input": source})
    (folder / MANIFEST).write_text(json.dumps(manifest))
    store.point_to(Pointer(day, "published", folder.relative_to(run.store).as_posix()))


def of_ratings(n):
    """The counts of an input of n rows, all of them valid."""
    return {"rows_read": n, "refused": 0, "repeated": 0, "ratings": n}


def test_the_folder_stands_and_the_counts_come_back(run_of):
    run = run_of()
    counts = prepare(run)
    assert (counts.ratings, counts.users, counts.items, counts.held_out) == (20, 5, 4, 5)
    assert counts == run.prepared.counts
    assert run.prepared.folder == run.folder / "prepared"
    assert run.record("prepare").exists()


def test_a_prepared_run_reads_nothing_again(run_of, tmp_path):
    run = run_of()
    counts = prepare(run)
    (tmp_path / "ratings.csv").unlink()
    assert prepare(run) == counts


def test_a_refused_row_is_counted_quarantined_and_seen(run_of):
    run = run_of([*LINES, "1,9,99,5", "6,1,4,5", "6,2,99,5"], None, "input.max_bad_fraction=0.5")
    counts = prepare(run)
    assert (counts.rows_read, counts.refused, counts.ratings) == (23, 2, 21)
    assert run.prepared.quarantine()["line"].to_pylist() == [22, 24]
    seen = run.prepared.seen("all")  # user 6 has refused item 2; item 9 has no valid rating, so it is no candidate
    assert seen[run.prepared.ids.user_ids.to_pylist().index(6)].indices.tolist() == [0, 1]


def test_a_refused_input_leaves_its_rows_and_no_prepared_folder(run_of):
    run = run_of([*LINES, "1,9,99,5"])
    with pytest.raises(InputRefused, match="1 of 21 rows") as refused:
        prepare(run)
    rows = run.folder / "refused" / "quarantine.parquet"
    assert str(rows) in refused.value.todo
    assert pq.read_table(rows)["text"].to_pylist() == ["1,9,99,5"]
    assert not (run.folder / "prepared").exists()


def test_a_refused_input_keeps_why_and_nothing_else(run_of):
    run = run_of()
    publish(run, of_ratings(41))
    with pytest.raises(InputRefused):
        prepare(run)
    assert [path.name for path in run.folder.iterdir()] == ["refused"]
    assert not run.work.exists()
    state = state_of(run.folder)
    assert state.name == "input refused"
    assert state.reason.startswith("The input is much smaller than the published run's. 20 ratings")


def test_an_input_that_is_fit_later_leaves_no_trace_of_the_refusal(run_of):
    run = run_of()
    publish(run, of_ratings(41))
    with pytest.raises(InputRefused):
        prepare(run)
    publish(run, of_ratings(20))
    prepare(run)
    assert [path.name for path in run.folder.iterdir()] == ["prepared"]


def test_a_missing_hold_out_leaves_no_prepared_folder(run_of, tmp_path):
    run = run_of(LINES, ["1,1,3,1"])
    (tmp_path / "test.csv").unlink()
    with pytest.raises(Exception, match=r"test\.csv"):
        prepare(run)
    assert not (run.folder / "prepared").exists()


def test_a_given_hold_out_is_held_out(run_of):
    counts = prepare(run_of(LINES, ["1,1,3,1", "9,1,3,1"]))
    assert (counts.held_out, counts.ratings_kept, counts.users) == (2, 19, 6)


def test_a_given_hold_out_is_checked_by_the_scale_of_the_ratings(run_of):
    """recsys.download: "the hold-out is read as the ratings are: the same columns, the same scale"."""
    run = run_of(LINES, ["1,1,3,1", "2,2,77,1"], "input.max_bad_fraction=0.5", test_scale=Scale())
    assert prepare(run).rating_max == 5.0
    assert prepare(run).held_out == 1


def test_a_pair_that_the_hold_out_refuses_is_never_recommended(run_of):
    """User 1 rated item 5 all the same: the row's rating cannot be read, its ids can."""
    lines = [*LINES, "2,5,4,1"]
    run = run_of(lines, ["1,1,3,1", "9,5,3,1", "1,5,x,1"], "input.max_bad_fraction=0.5")
    prepare(run)
    ids = run.prepared.ids
    assert ids.item_ids.to_pylist().index(5) in run.prepared.seen("all")[ids.user_ids.to_pylist().index(1)].indices


def test_settings_reach_the_folder(run_of):
    run = run_of(LINES, None, "top_items=2", "split=leave-last", "min_user_ratings=2")
    prepare(run)
    assert len(run.prepared.training_set("all").items) == 2
    latest = np.asarray(run.prepared.array("held_out")).reshape(5, 4)
    assert (latest == [False, False, False, True]).all()


# the volume


def test_the_first_night_has_nothing_to_be_compared_with(run_of):
    check_volume(run_of(), 1)


def test_an_input_that_shrank_is_refused(run_of):
    run = run_of()
    publish(run, of_ratings(41))
    with pytest.raises(InputRefused, match="much smaller") as refused:
        prepare(run)
    assert "50% of 41 ratings" in refused.value.expected
    assert "published" in refused.value.expected
    assert "20 ratings" in refused.value.found
    assert "input.min_volume_ratio=0" in refused.value.todo
    assert not (run.folder / "prepared").exists()


def test_another_dataset_is_not_compared_and_that_is_said(run_of, caplog):
    run = run_of()
    publish(run, of_ratings(1_000), dataset="large")
    caplog.set_level("INFO", "recsys")
    assert prepare(run).ratings == 20
    assert "the volume of small is not compared with the published run's, which is of large" in caplog.text


def test_a_run_that_is_rebuilt_is_not_compared_again(run_of):
    run = run_of()
    publish(run, of_ratings(1_000))
    run.set_aside.mkdir(parents=True)
    assert prepare(run).ratings == 20


@pytest.mark.parametrize(("published", "ratio"), [(40, 0.5), (1_000, 0), (20, 1)])
def test_an_input_of_enough_ratings_is_taken(run_of, published, ratio):
    run = run_of(LINES, None, f"input.min_volume_ratio={ratio}")
    publish(run, of_ratings(published))
    assert prepare(run).ratings == 20


def test_the_same_input_twice_is_as_large_as_itself(run_of):
    """With a given hold-out and repeated rows too: what is published and what is compared must be counted alike."""
    lines, test = [*LINES, LINES[0]], [f"9,{item},3,1" for item in range(1, 5)]
    first = run_of(lines, test, "input.min_volume_ratio=1")
    publish(first, asdict(prepare(first)))
    again = run_of(lines, test, "input.min_volume_ratio=1", "seed=7")
    assert prepare(again).ratings_kept == 20


def test_a_file_written_to_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "ratings.csv"
    path.write_text("user_id,item_id,rating\n1,1,4\n1,2,5\n2,1,3\n")
    snapshot = take_own(InputConfig(ratings=str(path)), DownloadConfig(), tmp_path / "raw")
    stage._require_unchanged(snapshot)
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputRefused, match="was written to while"):
        stage._require_unchanged(snapshot)
