"""Published files that were damaged, and pointers that lead nowhere, as an operator meets them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

SMALL = ("--rater", "means", "--set", "demo.users=300", "--set", "demo.items=200", "--set", "demo.ratings=9000")
NIGHT = ("--run-date", "2026-11-21")


@pytest.fixture(scope="module")
def made(cli, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("damaged") / "store"
    cli("run", "--store", root, *SMALL, "--run-date", "2026-11-20")
    cli("run", "--store", root, *SMALL, *NIGHT)
    return root


@pytest.fixture
def store(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "store", symlinks=True))


def test_the_same_night_mends_what_was_damaged(cli, store, tables) -> None:
    whole = tables(store, "2026-11-21")
    run = (store / "published" / "current").resolve()
    for damage in ("recommendations/part-00000.parquet", "prepared/rating.npy"):
        (run / damage).write_bytes((run / damage).read_bytes()[:-9])
    told = json.loads(cli("runs", "verify", "--store", store, "--json", code=1).out)
    assert told["status"] == "damaged"
    assert told["changed"] == ["prepared/rating.npy", "recommendations/part-00000.parquet"]
    assert (told["missing"], told["added"]) == ([], [])
    assert "recsys run --run-date 2026-11-21" in cli("runs", "verify", "--store", store, code=1).err
    rebuilt = cli("run", "--store", store, *SMALL, *NIGHT, "--json")
    assert rebuilt.json["outcome"] == "published"
    assert "is damaged" in rebuilt.err
    assert "is rebuilt" in rebuilt.err
    assert tables(store, "2026-11-21") == whole
    assert cli("runs", "verify", "--store", store, "--json").json["status"] == "whole"
    assert cli("run", "--store", store, *SMALL, *NIGHT, "--json").json["outcome"] == "unchanged"
    assert not list((store / "work").iterdir())


READERS = {
    "prepared/user_ids.parquet": ("show", "user", "1"),
    "prepared/rating.npy": ("show", "user", "1"),
    "prepared/items.parquet": ("show", "user", "1"),
    "recommendations/part-00000.parquet": ("show", "user", "1"),
    "similar_items/part-00000.parquet": ("path", "similar_items"),
    "manifest.json": ("runs", "show", "RUN"),
}


@pytest.mark.parametrize("file", READERS)
def test_a_reader_is_told_which_file_is_damaged(cli, store, file) -> None:
    run = (store / "published" / "current").resolve()
    (run / file).write_bytes((run / file).read_bytes()[:100])
    words = [run.name.removeprefix("run_id=") if word == "RUN" else word for word in READERS[file]]
    told = cli(*words, "--store", store, code=1)
    assert "Traceback" not in told.err
    assert file in told.err
    assert "recsys runs verify" in told.err


@pytest.mark.parametrize("damage", ["unreadable", "gone"])
def test_a_broken_pointer_is_told_and_mended(cli, store, damage) -> None:
    if damage == "unreadable":
        (store / "published" / "CURRENT.json").write_text("{")
    else:
        shutil.rmtree((store / "published" / "current").resolve())
    listed = cli("runs", "list", "--store", store, "--json")
    assert listed.json["pointer"] == "broken"
    assert listed.json["runs"]
    assert "`recsys run` mends it" in listed.err
    for words in (("path", "recommendations"), ("show", "user", "1")):
        told = cli(*words, "--store", store, code=2)
        assert "`recsys run` mends it" in told.err
        assert "Traceback" not in told.err
    cli("path", "recommendations", "--run-date", "2026-11-20", "--store", store)
    cli("run", "--store", store, *SMALL, *NIGHT)
    listed = cli("runs", "list", "--store", store, "--json").json
    assert listed["pointer"] == "whole"
    assert [row["run_date"] for row in listed["runs"] if row["published"]] == ["2026-11-21"]
    assert "2026-11-21" in str((store / "published" / "current").resolve())


def test_senseless_questions_are_refused(cli, store) -> None:
    assert "id is empty" in cli("runs", "show", "", "--store", store, code=2).err
    for most in ("0", "-3"):
        assert "--most" in cli("show", "user", "1", "--most", most, "--store", store, code=2).err
