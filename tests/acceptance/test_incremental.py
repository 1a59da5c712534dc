"""Two nights, of which the second has a few new ratings, people and items: with and without `incremental`."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

NIGHT = ("--rater", "means", "--top-items", "150")
INCREMENTAL = ("--set", "train.incremental=true")


@pytest.fixture(scope="module")
def nights(cli, tmp_path_factory) -> list[Path]:
    """The ratings of two nights: the demo's without its latest rows, and all of them."""
    folder = tmp_path_factory.mktemp("ratings")
    sizes = ("demo.users=400", "demo.items=200", "demo.ratings=12000")
    cli("download", "demo", "--store", folder / "store", *(part for size in sizes for part in ("--set", size)))
    with next((folder / "store").glob("raw/demo/*/ratings-00000.csv")).open(newline="") as file:
        header, *rows = csv.reader(file)
    rows.sort(key=lambda row: int(row[3]))
    files = [folder / "first.csv", folder / "second.csv"]
    for file, kept in zip(files, (rows[:-120], rows), strict=True):
        with file.open("w", newline="") as out:
            csv.writer(out).writerows([header, *kept])
    return files


def timings(store: Path) -> dict[str, dict[str, object]]:
    return json.loads((store / "published" / "current" / "manifest.json").read_text())["timings"]


def test_equal_bytes_in_all_tables(cli, nights, tmp_path, tables) -> None:
    stores = {name: tmp_path / name for name in ("incremental", "full", "damaged")}

    def run(name: str, day: int, *more: str) -> str:
        given = ("--ratings", nights[day - 1], "--run-date", f"2026-11-0{day}", "--store", stores[name])
        return cli("run", *given, *NIGHT, *more, "--json").json["run_id"]

    run("incremental", 1, *INCREMENTAL)
    for name in ("full", "damaged"):
        shutil.copytree(stores["incremental"], stores[name], symlinks=True)
    shutil.rmtree(stores["full"] / "incremental")
    sums = next(stores["damaged"].glob("incremental/all/*.sums"))
    sums.write_bytes(b"\xff" * sums.stat().st_size)
    ids = {run("incremental", 2, *INCREMENTAL), run("full", 2), run("damaged", 2, *INCREMENTAL)}
    assert len(ids) == 1  # it is no part of a run's identity
    assert tables(stores["incremental"]) == tables(stores["full"]) == tables(stores["damaged"])
    assert len(tables(stores["full"])) >= 3
    taken = timings(stores["incremental"])["refit_ranker_gram"]
    assert taken["way"] == "incremental"
    assert 0 < taken["rows_changed"] < 100
    told = timings(stores["damaged"])["refit_ranker_gram"]
    assert told["way"] == "full"
    assert "damaged" in told["why"]
    assert "refit_ranker_gram" not in timings(stores["full"])
    assert not (stores["full"] / "incremental").exists()
    for store in stores.values():
        cli("runs", "verify", "--store", store)
        assert not list(store.glob("work/*"))
    kept = {path.relative_to(stores["incremental"]) for path in stores["incremental"].glob("incremental/*/*")}
    assert len(kept) == 4  # of each part the record and one matrix, and not of each night
